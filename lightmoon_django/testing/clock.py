"""A clock that stands still until the test moves it."""

from __future__ import annotations

import datetime
import heapq
import itertools
from collections.abc import Callable


class _Alarm:
    """A callback that waits for its time."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Implements `clock.Clock`. `advance` runs what comes due, in order."""

    def __init__(self, start: float = 1000.0) -> None:
        self._time = start
        self._wall = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self._alarms: list[tuple[float, int, _Alarm]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self._time

    def now(self) -> datetime.datetime:
        return self._wall

    def call_at(self, when: float, callback: Callable[[], object]) -> _Alarm:
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    def advance(self, seconds: float) -> None:
        """Move time on by that much, running each callback at its own moment."""
        until = self._time + seconds
        while self._alarms and self._alarms[0][0] <= until:
            when, _, alarm = heapq.heappop(self._alarms)
            self._set(max(when, self._time))
            if not alarm.cancelled:
                alarm.callback()
        self._set(until)

    def _set(self, when: float) -> None:
        self._wall += datetime.timedelta(seconds=when - self._time)
        self._time = when
