"""What one client still has to read.

A frame is handed to the server by stepping its `send` coroutine by hand: as long as the socket takes it, which is
nearly always, no task is made and nothing is queued, so a fan-out costs one call per client. A `send` that suspends
says that the client reads slowly. A task then finishes it, and what follows waits in a bounded queue. The queue
never grows past its limit: stream frames go first, since a stream can be joined again, then the client itself.
"""

from __future__ import annotations

import asyncio
import collections
import types
from collections.abc import Callable, Coroutine, Generator, MutableMapping
from typing import Any, Protocol

from lightmoon_django.codec import weigh

Send = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]
Waiting = tuple[str, bool]  # a frame, and whether it may be dropped


class Owner(Protocol):
    """Whose outbox it is."""

    def overflowed(self) -> None:
        """Stream frames were dropped: end those streams and say so."""

    def drop(self) -> None:
        """The client doesn't read. End the connection."""

    def lost(self, outbox: Outbox, frames: list[Waiting]) -> None:
        """The connection broke, and these frames with it. The outbox is closed."""


class Outbox:
    """Frames on their way to one client, in order."""

    __slots__ = ("_limit", "_queue", "_send", "_sending", "_strained", "_task", "_waiting", "closed", "owner")

    def __init__(self, send: Send, limit: int, owner: Owner) -> None:
        self._send = send
        self._limit = limit
        self.owner = owner
        self._queue: collections.deque[Waiting] | None = None
        self._sending: Waiting | None = None  # while its send is suspended
        self._waiting = 0  # bytes in the queue
        self._task: asyncio.Task[None] | None = None  # finishes a send that suspended
        self._strained = False  # overflowed since it was last empty
        self.closed = False

    def send(self, frame: str, droppable: bool = False) -> None:
        """Send now, or queue. `droppable` frames belong to streams and are the first to go. Never raises or blocks."""
        if self._task is not None:
            self._enqueue(frame, droppable)
            return
        if self.closed:
            return
        coroutine = self._send(_message(frame))
        try:
            awaited = coroutine.send(None)
        except StopIteration:
            return
        except Exception:  # the client is gone; the server says so to the reader
            self.give_back(frame, droppable)
            return
        self._sending = (frame, droppable)
        self._task = asyncio.get_running_loop().create_task(self._drain(coroutine, awaited))

    def close(self) -> None:
        """Forget everything that waits. Later frames are ignored."""
        self.closed = True
        self._queue = self._sending = None
        self._waiting = 0
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def retrieve(self) -> list[Waiting]:
        """Close it. Answers what was not surely sent, oldest first."""
        found = [self._sending, *(self._queue or ())]
        self.close()
        return [one for one in found if one is not None]

    @property
    def waiting(self) -> int:
        """Bytes that wait in the queue."""
        return self._waiting

    def _enqueue(self, frame: str, droppable: bool) -> None:
        size = weigh(frame)
        if self._is_full(size, droppable):
            self._overflow()
            if self.closed or droppable:
                return
            if self._is_full(size, droppable):
                self._give_up()
                return
        if self._queue is None:
            self._queue = collections.deque()
        self._queue.append((frame, droppable))
        self._waiting += size

    def _is_full(self, size: int, droppable: bool) -> bool:
        """A reply may pass the limit by its own size, or one larger than the outbox could never be sent."""
        return self._waiting + size > self._limit if droppable else self._waiting > self._limit

    def _overflow(self) -> None:
        if self._strained:
            self._give_up()
            return
        self._strained = True
        if self._queue is not None:
            self._queue = collections.deque(item for item in self._queue if not item[1])
            self._waiting = sum(weigh(frame) for frame, _ in self._queue)
        self.owner.overflowed()

    def _give_up(self) -> None:
        self.close()
        self.owner.drop()

    def give_back(self, frame: str, droppable: bool) -> None:
        """A frame could not be sent: the connection is broken."""
        self._sending = (frame, droppable)
        self._break()

    def _break(self) -> None:
        self.owner.lost(self, self.retrieve())

    async def _drain(self, coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
        try:
            await resumed(coroutine, awaited)
            while self._queue:
                self._sending = self._queue.popleft()
                self._waiting -= weigh(self._sending[0])
                await self._send(_message(self._sending[0]))
        except Exception:  # the client is gone
            self._task = None
            self._break()
        else:
            self._queue = self._sending = self._task = None
            self._strained = False


class UnpausedOutbox(Outbox):
    """For a server whose `send` never waits and which queues without a bound: it tells how much by `backlog`.

    What the server holds can't be taken back, so replies and resets get as much room again, and then the client goes.
    """

    __slots__ = ("_backlog",)

    def __init__(self, send: Send, limit: int, owner: Owner, backlog: Callable[[], int]) -> None:
        super().__init__(send, limit, owner)
        self._backlog = backlog

    def send(self, frame: str, droppable: bool = False) -> None:
        held = self._backlog()
        if held > self._limit and not self.closed:
            if not droppable and held <= 2 * self._limit:
                super().send(frame)
            elif droppable:
                self._overflow()
            else:
                self._give_up()
            return
        if held == 0:
            self._strained = False
        super().send(frame, droppable)


@types.coroutine
def resumed(coroutine: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was stepped by hand until it yielded `awaited`."""
    while True:
        failure: BaseException | None = None
        try:
            yield awaited
        except BaseException as error:
            failure = error
        try:
            awaited = coroutine.send(None) if failure is None else coroutine.throw(failure)
        except StopIteration:
            return


_last_frame = ""
_last_message: dict[str, Any] = {"type": "websocket.send", "text": ""}


def _message(frame: str) -> dict[str, Any]:
    """The server's form of a frame, shared by all clients that get the same one in a row."""
    global _last_frame, _last_message
    if frame is not _last_frame:
        _last_message = {"type": "websocket.send", "text": frame}
        _last_frame = frame
    return _last_message
