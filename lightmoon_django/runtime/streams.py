"""The stream of one actor: its position, and who listens.

Events and state patches of one actor form one sequence, numbered from 1 within an epoch (one activation). `seq` is
given at release, so numbers follow the order of durable turns, and a frame is encoded once for everybody.

A stream that was ever followed keeps a history, from which a subscriber who comes back is given what it missed. Frames
that neither a subscriber nor the history would take are not even encoded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from lightmoon_django import codec
from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import Guarded
from lightmoon_django.runtime.history import History, Retention


class Subscriber(Protocol):
    """Who listens. Implemented by the gateway's sessions. No method blocks or raises."""

    id: str

    def push(self, frame: str) -> None:
        """One encoded JSON-RPC notification of a stream that this subscriber follows."""

    def push_guarded(self, address: Address, frame: Guarded) -> None:
        """Likewise, where the subscriber knows which of the two it may see."""

    def push_split(self, frames: Mapping[str, str], skip: str) -> None:
        """Likewise, where each session sees something else. Who isn't among `frames` gets `skip`."""

    def push_aside(self, frame: str) -> None:
        """A notification that has no place in the stream's sequence."""

    def reset(self, address: Address, reason: str) -> None:
        """The stream ended here; the subscriber is already forgotten and must subscribe anew."""


class Stream:
    """One activation's stream."""

    __slots__ = ("_guarded", "_head", "_history", "_retention", "address", "epoch", "seq", "subscribers")

    def __init__(
        self, address: Address, epoch: str, retention: Retention, guarded: frozenset[str] = frozenset()
    ) -> None:
        """`guarded` are the events that not every subscriber may see."""
        self._guarded = guarded
        self.address = address
        self.epoch = epoch
        self.seq = 0
        self.subscribers: dict[str, Subscriber] = {}
        self._head = ""
        self._retention = retention
        self._history: History | None = None

    @property
    def followed(self) -> bool:
        """Somebody listens, or may come back and ask for what it missed."""
        return self._history is not None or bool(self.subscribers)

    def join(self, subscriber: Subscriber) -> None:
        """From now on it gets every frame."""
        self.subscribers[subscriber.id] = subscriber
        if self._history is None:
            self._history = History(self._retention, self.seq)
        self._history.left(True)

    def leave(self, id: str) -> bool:
        """It gets nothing any more. Whether it was subscribed."""
        if self.subscribers.pop(id, None) is None:
            return False
        if self._history is not None:
            self._history.left(bool(self.subscribers))
        return True

    def missed(self, since: Position) -> list[str | Guarded] | None:
        """The frames after a position, in order; None when it is another epoch's or not held any more."""
        if self._history is None or since.epoch != self.epoch:
            return None
        return self._history.since(since.seq)

    def tidy(self) -> None:
        """Forget the history if nobody can need it any more."""
        if self._history is not None and not self.subscribers and self._history.outlived:
            self._forget()

    def _forget(self) -> None:
        self._history = None
        self.seq += 1  # what happens unrecorded from now on makes every earlier position a lost one

    def emit(self, name: str, data: bytes) -> None:
        """Send an event to everybody. `data` is its encoded object."""
        self._send("lm.event", f'"name":"{name}","data":{data.decode()}', name if name in self._guarded else "")

    def patch(self, changed: bytes, gone: bytes = b"[]", mark: str | None = None) -> None:
        """Send what of the view has changed to everybody: an encoded object, and an encoded array of names.

        By `mark` the client whose call changed it knows that it did.
        """
        self._send("lm.state", f'"set":{changed.decode()},"unset":{gone.decode()}{_marked(mark)}')

    def patch_each(self, changes: Mapping[str, str], mark: str | None = None) -> None:
        """Send to each session what of its view has changed, as `Audience.changes` says.

        None of it is kept but the mark: who comes back is told the state that it sees then.
        """
        if not any(changes.values()):
            return
        self.seq += 1
        sign = _marked(mark)
        skip = self._frame("lm.skip", sign)
        if self._history is not None:
            self._history.add(skip)
        made = {rest: self._frame("lm.state", f",{rest}{sign}") if rest else skip for rest in set(changes.values())}
        frames = {id: made[rest] for id, rest in changes.items()}
        for subscriber in tuple(self.subscribers.values()):
            subscriber.push_split(frames, skip)

    def tell(self, method: str, params: bytes) -> None:
        """Send something that has no place in the sequence to everybody."""
        frame = f'{{"jsonrpc":"2.0","method":"{method}","params":{params.decode()}}}'
        for subscriber in tuple(self.subscribers.values()):
            subscriber.push_aside(frame)

    def end(self, reason: str) -> None:
        """Reset every subscriber; they subscribe again to whatever follows, and go on from no position of before."""
        self._forget()
        subscribers, self.subscribers = self.subscribers, {}
        for subscriber in subscribers.values():
            subscriber.reset(self.address, reason)

    def _send(self, method: str, rest: str, guarded: str = "") -> None:
        self.seq += 1
        if not self.subscribers:
            self.tidy()
            if self._history is None:
                return
        frame = self._frame(method, f",{rest}")
        if guarded:
            self._send_guarded(Guarded(guarded, frame, self._frame("lm.skip", "")))
            return
        if self._history is not None:
            self._history.add(frame)
        for subscriber in tuple(self.subscribers.values()):
            subscriber.push(frame)

    def _send_guarded(self, frame: Guarded) -> None:
        if self._history is not None:
            self._history.add(frame)
        for subscriber in tuple(self.subscribers.values()):
            subscriber.push_guarded(self.address, frame)

    def _frame(self, method: str, rest: str) -> str:
        return (
            f'{{"jsonrpc":"2.0","method":"{method}","params":{{{self._names()}"epoch":"{self.epoch}",'
            f'"seq":{self.seq}{rest}}}}}'
        )

    def _names(self) -> str:
        if not self._head:
            actor, key = (codec.encode_json(part).decode() for part in self.address)
            self._head = f'"actor":{actor},"key":{key},'
        return self._head


def _marked(mark: str | None) -> str:
    return "" if mark is None else f',"mark":{codec.encode_json(mark).decode()}'


def params_of(frame: str | Guarded, hidden: Collection[str] = ()) -> str:
    """The encoded params of one of a stream's frames, as somebody sees it from whom those events are hidden."""
    if isinstance(frame, Guarded):
        frame = frame.skip if frame.event in hidden else frame.frame
    return frame[frame.index('"params":') + len('"params":') : -1]
