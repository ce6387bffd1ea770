"""One stream of another node's, put into order for those who follow it here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import Guarded, Split, StreamFrame

EARLY = 1024  # frames that are kept while an earlier one is missing; the rest is asked for


class Subscriber(Protocol):
    """Who listens; a session of the gateway."""

    id: str

    def push(self, frame: str) -> None: ...

    def push_guarded(self, address: Address, frame: Guarded) -> None: ...

    def push_split(self, frames: Mapping[str, str], skip: str) -> None: ...

    def push_aside(self, frame: str) -> None: ...

    def reset(self, address: Address, reason: str) -> None: ...


class Order:
    """Numbered frames that come late, twice or not at all, as a sequence without a gap."""

    __slots__ = ("early", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq  # of the last frame that was in order
        self.early: dict[int, StreamFrame] = {}

    def take(self, number: int, frame: StreamFrame) -> list[StreamFrame]:
        """The frames that are in order now."""
        if number != self.seq + 1:
            if number > self.seq and len(self.early) < EARLY:
                self.early[number] = frame
            return []
        found = [frame]
        self.seq = number
        while self.early:
            self.early.pop(self.seq, None)
            following = self.early.pop(self.seq + 1, None)
            if following is None:
                break
            found.append(following)
            self.seq += 1
        return found


class Mirror:
    """Who follows a stream here, and how far they have got."""

    __slots__ = (
        "_followers",
        "_late",
        "_order",
        "_waiting",
        "address",
        "asked",
        "epoch",
        "grouped",
        "known",
        "source",
        "stuck_at",
        "stuck_since",
    )

    def __init__(self, address: Address, source: int, position: Position, grouped: bool) -> None:
        """`grouped`: its frames come as casts to a group."""
        self.address = address
        self.source = source
        self.epoch = position.epoch
        self.grouped = grouped
        self.known = position.seq  # how far the stream is known to have got
        self.stuck_at = 0  # `wanted` when it was looked at last
        self.stuck_since = 0.0
        self.asked = False  # the owner, for what is missing there
        self._order = Order(position.seq)
        self._followers: dict[str, Subscriber] = {}
        self._late: dict[str, tuple[Subscriber, Order]] = {}  # who joined at a position that this mirror had passed
        self._waiting: list[tuple[int, Callable[[], object]]] = []

    @property
    def seq(self) -> int:
        """The last frame that was handed out."""
        return self._order.seq

    @property
    def empty(self) -> bool:
        return not (self._followers or self._late)

    @property
    def behind(self) -> bool:
        """Whether something is missing, as far as this node knows."""
        return self._order.seq < self.known or bool(self._late)

    @property
    def wanted(self) -> int:
        """The position of who has least."""
        return min([self._order.seq, *(order.seq for _, order in self._late.values())])

    @property
    def hears(self) -> bool:
        """Whether later frames than the missing one have come."""
        return bool(self._order.early)

    def join(self, subscriber: Subscriber, seq: int) -> bool:
        """Someone follows anew, who has what is up to that number. Whether something is missing now."""
        self.known = max(self.known, seq)
        if seq < self.seq:
            self._late[subscriber.id] = (subscriber, Order(seq))
        else:
            self._followers[subscriber.id] = subscriber
        return self.behind

    def leave(self, id: str) -> bool:
        """Whether it was there."""
        if self._late.pop(id, None) is not None:
            self._tell()
            return True
        return self._followers.pop(id, None) is not None

    def accept(self, first: int, frames: tuple[StreamFrame, ...]) -> None:
        """Hand out what is in order now, and keep what is early."""
        for number, frame in enumerate(frames, first):
            for one in self._order.take(number, frame):
                self._give(one, tuple(self._followers.values()))
            for id, late in tuple(self._late.items()):
                for one in late[1].take(number, frame):
                    if self._late.get(id) is late:  # else it could not take the one before
                        self._give(one, late[:1])
        self.known = max(self.known, first + len(frames) - 1)
        if self._late:
            self._promote()
        if self._waiting:
            self._tell()

    def _give(self, frame: StreamFrame, subscribers: Iterable[Subscriber]) -> None:
        if isinstance(frame, Guarded):
            for subscriber in subscribers:
                subscriber.push_guarded(self.address, frame)
        elif isinstance(frame, Split):
            frames = {id: one for one, ids in frame.others for id in ids}
            for subscriber in subscribers:
                subscriber.push_split(frames, frame.rest)
        else:
            for subscriber in subscribers:
                subscriber.push(frame)

    def aside(self, frame: str) -> None:
        """Hand out what has no number."""
        for subscriber in self._subscribers():
            subscriber.push_aside(frame)

    def _subscribers(self) -> list[Subscriber]:
        return [*self._followers.values(), *(subscriber for subscriber, _ in self._late.values())]

    def _promote(self) -> None:
        for id, (subscriber, order) in list(self._late.items()):
            if order.seq >= self.seq:
                del self._late[id]
                self._followers[id] = subscriber

    def wait(self, seq: int, then: Callable[[], object]) -> None:
        """Call `then` once everybody has the frame of that number, or the stream is given up."""
        self.known = max(self.known, seq)
        self._waiting.append((seq, then))

    def release(self) -> None:
        """Nothing is waited for any more."""
        waiting, self._waiting = self._waiting, []
        for _, then in waiting:
            then()

    def _tell(self) -> None:
        # Looked up each time: one may be an answer with which somebody joins who has less, or the last one leaves.
        while due := next((one for one in self._waiting if one[0] <= self.wanted), None):
            self._waiting.remove(due)
            due[1]()

    def reset(self, reason: str) -> None:
        """Tell those who followed that it is over."""
        followers = self._subscribers()
        self._followers, self._late = {}, {}
        for subscriber in followers:
            subscriber.reset(self.address, reason)
