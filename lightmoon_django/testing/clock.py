"""A clock that stands still until the test moves it."""

from __future__ import annotations

import datetime
import heapq
import itertools
from collections.abc import Callable

from lightmoon_django.clock import Cancellable


class _Alarm:
    """A callback that waits for its time."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Implements `clock.Clock`. `advance` runs what comes due, in order."""

    def __init__(self, start: float = 1000.0, wall: datetime.datetime | None = None) -> None:
        self._time = start
        self._wall = wall or datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self._alarms: list[tuple[float, int, _Alarm]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._time

    def now(self) -> datetime.datetime:
        return self._wall

    def call_at(self, when: float, callback: Callable[[], object]) -> Cancellable:
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    def advance(self, by: float | datetime.timedelta) -> None:
        """Move time on by that many seconds, running each callback at its own moment."""
        until = self._time + seconds(by)
        while self.step(until):
            pass
        self.move(until)

    def step(self, until: float) -> bool:
        """Move to the next callback that is due by then, and run it. False: there is none."""
        while self._alarms and self._alarms[0][0] <= until:
            when, _, alarm = heapq.heappop(self._alarms)
            if not alarm.cancelled:
                self.move(max(when, self._time))
                alarm.callback()
                return True
        return False

    def move(self, until: float) -> None:
        """Make it that late, and run nothing."""
        self._wall += datetime.timedelta(seconds=until - self._time)
        self._time = until


def seconds(by: float | datetime.timedelta) -> float:
    """A duration in seconds. Raises `ValueError` for one that leads back."""
    found = by.total_seconds() if isinstance(by, datetime.timedelta) else float(by)
    if found < 0:
        raise ValueError(f"Time never goes back, not by {by!r}.")
    return found
