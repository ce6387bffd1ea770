"""What waits for a client that is not connected, or that fetches its messages over HTTP.

Frames get a number when they are first handed out, and are kept for a while after that: the client says by the number
of the last one it has (its cursor) where to go on. It may say so again, when what it was given got lost on the way.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from lightmoon_django.codec import weigh
from lightmoon_django.gateway.limits import KEPT_FRAMES
from lightmoon_django.gateway.outbox import Outbox, Owner, Waiting


class Backlog(Outbox):
    """An outbox that sends nothing by itself. `ready` is called when there is something to take."""

    __slots__ = ("_kept", "_kept_weight", "_owed", "_owed_weight", "cursor", "ready")

    def __init__(self, limit: int, owner: Owner) -> None:
        super().__init__(_nowhere, limit, owner)
        self.cursor = 0  # the number of the last frame that was handed out
        self.ready: Callable[[], None] | None = None
        self._kept: collections.deque[Waiting] | None = None  # handed out, up to the cursor
        self._kept_weight = 0
        self._owed: collections.deque[Waiting] | None = None  # of those that are kept no longer, what was no stream's
        self._owed_weight = 0

    def send(self, frame: str, droppable: bool = False) -> None:
        if self.closed:
            return
        self._enqueue(frame, droppable)
        if self.ready is not None:
            self.ready()

    def close(self) -> None:
        super().close()
        self._forget()

    @property
    def end(self) -> int:
        """The number that the last frame has, or will have when it is handed out."""
        return self.cursor + len(self._queue or ())

    @property
    def empty(self) -> bool:
        return not self._queue

    def take(self) -> list[tuple[int, str]]:
        """Hand out what waits, with numbers. It is kept until it is acknowledged or too much."""
        waiting = self._take_all()
        first = self.cursor + 1
        self.cursor += len(waiting)
        self._keep(waiting)
        return [(number, frame) for number, (frame, _) in enumerate(waiting, first)]

    def drain(self) -> list[Waiting]:
        """Hand out what waits for good, to a connection that has no numbers."""
        waiting = self._take_all()
        self.cursor += len(waiting)
        self._forget()
        return waiting

    def rewind(self, cursor: int) -> bool:
        """Go back to where the client says it is; what it has is forgotten.

        False when that isn't held any more: then streams are to be reset, and what was none of their frames is said
        again, earlier resets above all.
        """
        kept = self._kept or ()
        missing = self.cursor - cursor
        held = 0 <= missing <= len(kept)
        if held:
            again = list(kept)[len(kept) - missing :]
            self.cursor = cursor
        else:
            again = [one for one in (*(self._owed or ()), *kept) if not one[1]]
        self._forget()
        if again:
            self._queue = collections.deque([*again, *(self._queue or ())])
            self._waiting += sum(weigh(frame) for frame, _ in again)
        return held

    def _take_all(self) -> list[Waiting]:
        waiting, self._queue = list(self._queue or ()), None
        self._waiting = 0
        self._strained = False
        return waiting

    def _keep(self, frames: list[Waiting]) -> None:
        if self._kept is None:
            self._kept = collections.deque()
        self._kept.extend(frames)
        self._kept_weight += sum(weigh(frame) for frame, _ in frames)
        while self._kept and (len(self._kept) > KEPT_FRAMES or self._kept_weight > self._limit):
            frame, droppable = self._kept.popleft()
            self._kept_weight -= weigh(frame)
            if not droppable:
                self._owe(frame)

    def _owe(self, frame: str) -> None:
        if self._owed is None:
            self._owed = collections.deque()
        self._owed.append((frame, False))
        self._owed_weight += weigh(frame)
        while self._owed_weight > self._limit:
            self._owed_weight -= weigh(self._owed.popleft()[0])

    def _forget(self) -> None:
        self._kept = self._owed = None
        self._kept_weight = self._owed_weight = 0


async def _nowhere(message: Any) -> None:
    """There is nobody to send to."""
