"""Rows on their way back to nobody, and who waits for that."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.links import Links
from lightmoon_django.runtime.handover import GivingBack
from lightmoon_django.testing.clock import ManualClock
from tests.cluster.test_forwarding import Noted
from tests.live.models import Scratch


class Silent:
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def disown(self, keys: Any, done: Any) -> None:
        self.done.append(done)


def test_nobody_waits_beyond_the_deadline_for_a_database_that_does_not_answer() -> None:
    """B52: what can still wait goes on when the row is given back."""
    clock, store = ManualClock(), Silent()
    gone: list[Any] = []
    soon: list[Any] = []
    node: Any = SimpleNamespace(clock=clock, loop=SimpleNamespace(call_soon=soon.append))
    giving = GivingBack(node, lambda schema, key, calls: gone.extend(calls))
    message = registry.schema_of(Scratch).messages["add"]
    first, patient, late = (Noted(message, "a", None, b"", clock.monotonic() + seconds) for seconds in (1.0, 60.0, 2.0))
    giving.begin(message.actor, "a", store, [first, patient])  # type: ignore[arg-type]
    assert not giving.join(patient.address._replace(key="b"), [late])
    assert giving.join(first.address, [late])
    soon.pop()()
    clock.advance(1.3)
    assert first.ended == "DeadlineExceeded"
    assert not hasattr(late, "ended")
    clock.advance(1.0)
    assert late.ended == "DeadlineExceeded"
    store.done[0](None)
    assert gone == [patient]
    clock.advance(1.0)
    assert not clock.step(clock.monotonic() + 10)


def test_a_blocked_loop_finds_no_new_lease_before_it_has_discarded_its_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """B31: however long something blocks it."""
    monkeypatch.setattr("lightmoon_django.links.LOOK_AGAIN", 0.01)
    loop, goes_on = asyncio.new_event_loop(), threading.Event()
    running = threading.Thread(target=loop.run_forever)
    running.start()
    done: list[str] = []
    links = Links()
    node: Any = SimpleNamespace(loop=loop, distrust_all=lambda store: done.append("discarded"), elsewhere=None)
    links._node = node
    loop.call_soon_threadsafe(goes_on.wait, 10)

    def lose() -> None:
        links.lost(Silent())  # type: ignore[arg-type]
        done.append("renewed")

    losing = threading.Thread(target=lose)
    losing.start()
    losing.join(0.1)
    assert done == []
    goes_on.set()
    losing.join(10)
    assert done == ["discarded", "renewed"]
    loop.call_soon_threadsafe(loop.stop)
    running.join()
    loop.close()
