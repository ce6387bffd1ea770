"""The latest frames of one stream, for subscribers who lost their connection and come back soon."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable

from lightmoon_django.codec import weigh
from lightmoon_django.messages import Guarded


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How much of a stream is held: whichever bound is reached first."""

    messages: int
    seconds: float
    size: int  # bytes
    monotonic: Callable[[], float]


class History:
    """A ring of frames without a hole: the last one always stands at the stream's own position.

    It is kept while anybody follows the stream, and for `seconds` after the last subscriber has left.
    """

    __slots__ = ("_base", "_frames", "_left_at", "_retention", "_size")

    def __init__(self, retention: Retention, position: int) -> None:
        """`position` is the stream's: what came before is not held."""
        self._retention = retention
        self._base = position  # the position before the oldest frame
        self._frames: collections.deque[tuple[float, str | Guarded]] | None = None  # made when there is one
        self._size = 0
        self._left_at: float | None = None

    def add(self, frame: str | Guarded) -> None:
        """The stream moved on by one frame."""
        if self._frames is None:
            self._frames = collections.deque()
        now = self._retention.monotonic()
        self._frames.append((now, frame))
        self._size += _weight(frame)
        self._trim(now)

    def since(self, seq: int) -> list[str | Guarded] | None:
        """The frames after that position, oldest first; None when one of them is not held any more."""
        self._trim(self._retention.monotonic())
        frames = self._frames or ()
        skipped = seq - self._base
        if not 0 <= skipped <= len(frames):
            return None
        return [frame for number, (_, frame) in enumerate(frames) if number >= skipped]

    def left(self, anybody: bool) -> None:
        """Somebody came or went; whether anybody follows the stream now."""
        self._left_at = None if anybody else self._retention.monotonic()

    @property
    def outlived(self) -> bool:
        """Nobody who left can come back in time."""
        left_at = self._left_at
        return left_at is not None and self._retention.monotonic() - left_at > self._retention.seconds

    def _trim(self, now: float) -> None:
        frames, bounds = self._frames, self._retention
        if frames is None:
            return
        oldest = now - bounds.seconds
        while frames and (len(frames) > bounds.messages or self._size > bounds.size or frames[0][0] < oldest):
            self._size -= _weight(frames.popleft()[1])
            self._base += 1


def _weight(frame: str | Guarded) -> int:
    return weigh(frame.frame) + weigh(frame.skip) if isinstance(frame, Guarded) else weigh(frame)
