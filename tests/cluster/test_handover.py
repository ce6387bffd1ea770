"""Rows on their way back to nobody, and who waits for that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lightmoon_django.actor import registry
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
