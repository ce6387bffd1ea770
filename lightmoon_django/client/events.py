"""What a program reads from an actor's stream."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from lightmoon_django.client.reading import PLAIN, Reading
from lightmoon_django.errors import LightMoonError, UsageError

if TYPE_CHECKING:
    from lightmoon_django.client.stream import Stream

T = TypeVar("T")

QUEUE = 10_000  # events that wait for their reader
RESET = "reset"
PRESENCE = "presence"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, and where in its actor's stream it stands.

    A "reset" has `{"reason", "state"}` as its data, a "presence" `{"joins", "leaves", "users", "count"}`.
    """

    name: str
    data: dict[str, Any]
    actor: str
    key: str
    epoch: str
    seq: int


class StreamReset(LightMoonError):
    """There may be events that this reader missed. `state` is what the actor is now; reading may go on."""

    code = "reset"
    retryable = True

    def __init__(self, reason: str, state: dict[str, Any] | None) -> None:
        super().__init__(f"Events may have been missed: {reason}.")
        self.reason = reason
        self.state = state


class Reader(Generic[T]):
    """An async iterator over a stream, and a context manager that waits until the stream flows.

    It listens from its making until it is closed, or nobody holds it any more. It ends when the client is closed, and
    raises what the server refuses the subscription with. One task reads it; another one needs a reader of its own.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._waiter: asyncio.Future[None] | None = None
        self._failure: LightMoonError | None = None
        self._over = False
        stream.listen(self)

    def event(self, event: Event) -> None:
        """An event came."""

    def changed(self, state: dict[str, Any] | None) -> None:
        """The state is another."""

    def presence(self, change: dict[str, Any]) -> None:
        """Somebody came or went, or says something else of itself."""

    def reset(self, reason: str, state: dict[str, Any] | None) -> None:
        """Events may be missing here."""

    def failed(self, error: LightMoonError) -> None:
        """The server said no. What came before is read first."""
        self._failure = error
        self.closed()

    def closed(self) -> None:
        """Nothing comes any more."""
        self._over = True
        self._wake()

    def close(self) -> None:
        """Listen no longer."""
        if not self._over:
            self.closed()
            self._stream.unlisten(self)

    async def aclose(self) -> None:
        """Like `close`, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Self:
        try:
            await self._stream.live()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if self._waiter is not None:
            raise UsageError(
                "Another task reads this already, and each would miss what the other one got. "
                "Call events() or changes() once for each task."
            )
        while not self._waits():
            if self._failure is not None:
                error, self._failure = self._failure, None
                raise error
            if self._over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    def _waits(self) -> bool:
        raise NotImplementedError

    def _take(self) -> T:
        raise NotImplementedError

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Events(Reader[Event]):
    """Some or all events, in order. Where some may be missing, `StreamReset` is raised, or "reset" read by its name.

    Whoever reads too slowly loses what waits, and is told so by a reset.
    """

    def __init__(self, stream: Stream, names: Collection[str], limit: int = QUEUE, reading: Reading = PLAIN) -> None:
        self._names = frozenset(names)
        self._limit = limit
        self._reading = reading
        self._queue: collections.deque[Event | StreamReset] = collections.deque()
        super().__init__(stream)

    def event(self, event: Event) -> None:
        if not self._names or event.name in self._names:
            self._add(event)

    def presence(self, change: dict[str, Any]) -> None:
        if PRESENCE in self._names:
            self._add(Event(name=PRESENCE, data=change, **self._stream.where()))

    def _add(self, event: Event) -> None:
        if len(self._queue) >= self._limit:
            self._queue.clear()
            self.reset("overflow", self._stream.snapshot)
            return
        self._queue.append(event)
        self._wake()

    def reset(self, reason: str, state: dict[str, Any] | None) -> None:
        if RESET in self._names:
            data = {"reason": reason, "state": state}
            self._queue.append(Event(name=RESET, data=data, **self._stream.where()))
        else:
            self._queue.append(StreamReset(reason, state))
        self._wake()

    def _waits(self) -> bool:
        return bool(self._queue)

    def _take(self) -> Event:
        found = self._queue.popleft()
        if isinstance(found, StreamReset):
            raise StreamReset(found.reason, self._reading.state(found.state))
        return dataclasses.replace(found, data=self._read(found))

    def _read(self, event: Event) -> dict[str, Any]:
        if event.name == PRESENCE:
            return event.data
        if event.name == RESET:
            return {**event.data, "state": self._reading.state(event.data["state"])}
        return self._reading.data(event.name, event.data)


class Changes(Reader["dict[str, Any] | None"]):
    """The state, first as it is, and then whenever it is another. Whoever reads slowly sees the latest one only."""

    def __init__(self, stream: Stream, reading: Reading = PLAIN) -> None:
        self._reading = reading
        self._fresh = stream.snapshot is not None
        super().__init__(stream)

    def changed(self, state: dict[str, Any] | None) -> None:
        self._fresh = True
        self._wake()

    def _waits(self) -> bool:
        return self._fresh

    def _take(self) -> dict[str, Any] | None:
        self._fresh = False
        return self._reading.state(self._stream.snapshot)
