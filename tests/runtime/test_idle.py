"""Time that the test owns: when actors leave memory, and when deadlines pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Ask
from lightmoon_django.conf import parse
from lightmoon_django.errors import DeadlineExceeded
from lightmoon_django.identity import Address
from lightmoon_django.persistence.memory import MemoryColumns
from lightmoon_django.runtime.node import Node
from lightmoon_django.runtime.workers import Workers
from lightmoon_django.testing.clock import ManualClock
from tests.live.models import Probe, Scratch
from tests.runtime.conftest import eventually


class InMemory:
    """Storage of a node that hosts nothing but actors in memory."""

    def queue(self, schema: Any) -> None:
        return None

    def directory(self, schema: Any) -> None:
        return None

    alone = False

    def end_solitude(self) -> None:
        return None

    def columns(self, schema: Any) -> MemoryColumns:
        return MemoryColumns(schema)

    def guard(self) -> None:
        return None

    idle = True

    def stop(self) -> None:
        pass


class Always:
    """A lease that holds."""

    def valid(self) -> bool:
        return True


class Quiet:
    """A subscriber that only counts as one."""

    id = "quiet"

    def push(self, frame: str) -> None:
        pass

    def reset(self, address: Address, reason: str) -> None:
        pass


class Still:
    """A node whose time stands still."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.clock = ManualClock()
        self.node = Node(
            loop=loop,
            clock=self.clock,
            settings=parse({"IDLE_AFTER": 10}),
            lease=Always(),
            storage=InMemory(),
            workers=Workers(2, loop.call_soon_threadsafe, lambda: None),
        )

    def send(self, name: str, *args: Any, timeout: float = 30.0) -> asyncio.Future[bytes]:
        message = registry.schema_of(Scratch).messages[name]
        payload = message.signature.bind(args, {})
        call = Ask(message, "one", None, payload, self.clock.monotonic() + timeout)
        call.future = found = asyncio.get_running_loop().create_future()
        self.node.post(call)
        return found

    @property
    def activation(self) -> Any:
        return self.node.find(Address("live.Scratch", "one"))


@pytest.fixture
async def still() -> AsyncIterator[Still]:
    Probe.clear()
    found = Still()
    yield found
    for gate in Probe.gates.values():
        gate.set()
    found.node.runners.stop()


def gone(still: Still) -> Callable[[], bool]:
    return lambda: still.activation is None


async def test_an_actor_leaves_memory_once_it_is_idle(still: Still) -> None:
    """B38: not before its limit."""
    await still.send("add", 1)
    still.clock.advance(9)
    await asyncio.sleep(0)
    assert still.activation is not None
    still.clock.advance(5)
    await eventually(gone(still), "it leaves")
    assert ("deactivate", "one") in Probe.log


async def test_a_busy_actor_stays(still: Still) -> None:
    """B38: however long its turn takes."""
    running = still.send("hold", "g", timeout=1000)
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    still.clock.advance(100)
    await asyncio.sleep(0)
    assert still.activation is not None
    Probe.gate("g").set()
    await running


async def test_a_followed_actor_stays(still: Still) -> None:
    """B38: until nobody listens any more."""
    await still.send("add", 1)
    still.activation.stream.subscribers["quiet"] = Quiet()
    still.clock.advance(100)
    await asyncio.sleep(0)
    assert still.activation is not None
    still.activation.stream.subscribers.clear()
    still.clock.advance(15)
    await eventually(gone(still), "it leaves")


async def test_a_deadline_passes_when_the_clock_says_so(still: Still) -> None:
    """B40, B52: the running turn is abandoned, the queued call never ran."""
    running = still.send("hold", "g", 1000, timeout=20)
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    queued = still.send("add", 500, timeout=5)
    still.clock.advance(6)
    with pytest.raises(DeadlineExceeded, match="did not run"):
        await queued
    assert not running.done()
    still.clock.advance(15)
    with pytest.raises(DeadlineExceeded, match="did not finish"):
        await running
    assert await still.send("add", 1) == b"\x01"
