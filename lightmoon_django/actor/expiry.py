"""Calls that wait outside any activation, for an answer or a way: no caller waits much longer than its deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lightmoon_django.actor.call import Call
from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.errors import DeadlineExceeded

PERIOD = 0.25  # seconds


class Sweep:
    """Looks for expired calls now and then, while there are any calls. One timer for all of them."""

    def __init__(self, clock: Clock, look: Callable[[float], bool]) -> None:
        """`look(now)` answers the calls that have expired, and tells whether others wait."""
        self.resting = True
        self._clock = clock
        self._look = look
        self._next: Cancellable | None = None

    def start(self) -> None:
        """Calls wait from now on."""
        if self.resting:
            self.resting = False
            self._next = self._clock.call_at(self._clock.monotonic() + PERIOD, self._run)

    def stop(self) -> None:
        """Nobody waits any more."""
        if self._next is not None:
            self._next.cancel()

    def _run(self) -> None:
        self.resting = True
        if self._look(self._clock.monotonic()):
            self.start()


def refuse_expired(waiting: Iterable[list[Call]], now: float, reason: str) -> None:
    """Take the calls whose deadline has passed out of each list, and tell their callers."""
    for calls in list(waiting):
        for call in [call for call in calls if call.deadline <= now]:
            calls.remove(call)
            call.reject(DeadlineExceeded(reason))
