"""Things that are due a fixed time after they were added."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from lightmoon_django.clock import Cancellable, Clock

T = TypeVar("T")


class Expiry(Generic[T]):
    """Since all wait equally long they are due in the order they came: one timer serves them all."""

    def __init__(self, clock: Clock, seconds: float, due: Callable[[T], object]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._due = due
        self._waiting: dict[T, float] = {}
        self._timer: Cancellable | None = None

    def __contains__(self, item: T) -> bool:
        return item in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def oldest(self) -> T | None:
        """What is due next."""
        return next(iter(self._waiting), None)

    def add(self, item: T) -> None:
        """Its time starts now, also if it waited already."""
        self._waiting.pop(item, None)
        self._waiting[item] = self._clock.monotonic() + self._seconds
        if self._timer is None:
            self._timer = self._clock.call_at(self._waiting[item], self._tick)

    def prolong(self, item: T) -> None:
        """Its time starts anew, if it waits."""
        if item in self._waiting:
            self.add(item)

    def discard(self, item: T) -> None:
        """It is not due any more."""
        self._waiting.pop(item, None)
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for item, when in tuple(self._waiting.items()):
            if when > now:
                break
            if self._waiting.pop(item, None) is not None:  # else another one's end took it along
                self._due(item)
        if self._waiting and self._timer is None:
            self._timer = self._clock.call_at(next(iter(self._waiting.values())), self._tick)
