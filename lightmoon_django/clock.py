"""Time as a dependency, so that tests own it."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from typing import Protocol


class Cancellable(Protocol):
    """A scheduled callback that has not run yet."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """What the runtime asks of time. Implemented by `SystemClock` and by `testing.ManualClock`."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    def now(self) -> datetime.datetime:
        """The wall clock, timezone-aware, in UTC."""

    def call_at(self, when: float, callback: Callable[[], object]) -> Cancellable:
        """Run `callback` on the current event loop once `monotonic()` has reached `when`."""


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    def call_at(self, when: float, callback: Callable[[], object]) -> Cancellable:
        return asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), callback)
