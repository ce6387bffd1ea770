"""The stream of one actor: its position, and who listens.

Events and state patches of one actor form one sequence, numbered from 1 within an epoch (one activation). `seq` is
given at release, so numbers follow the order of durable turns, and a frame is encoded once for everybody.
"""

from __future__ import annotations

from typing import Protocol

from lightmoon_django import codec
from lightmoon_django.identity import Address


class Subscriber(Protocol):
    """Who listens. Implemented by the gateway's sessions. No method blocks or raises."""

    id: str

    def push(self, frame: str) -> None:
        """One encoded JSON-RPC notification of a stream that this subscriber follows."""

    def reset(self, address: Address, reason: str) -> None:
        """The stream ended here; the subscriber is already forgotten and must subscribe anew."""


class Stream:
    """One activation's stream."""

    __slots__ = ("_head", "address", "epoch", "seq", "subscribers")

    def __init__(self, address: Address, epoch: str) -> None:
        self.address = address
        self.epoch = epoch
        self.seq = 0
        self.subscribers: dict[str, Subscriber] = {}
        self._head = ""

    def emit(self, name: str, data: bytes) -> None:
        """Send an event to everybody. `data` is its encoded object."""
        self._send("lm.event", f'"name":"{name}","data":{data.decode()}')

    def patch(self, changed: bytes, gone: bytes = b"[]") -> None:
        """Send what of the view has changed to everybody: an encoded object, and an encoded array of names."""
        self._send("lm.state", f'"set":{changed.decode()},"unset":{gone.decode()}')

    def end(self, reason: str) -> None:
        """Reset every subscriber; they subscribe again to whatever follows."""
        subscribers, self.subscribers = self.subscribers, {}
        for subscriber in subscribers.values():
            subscriber.reset(self.address, reason)

    def _send(self, method: str, rest: str) -> None:
        self.seq += 1
        if not self.subscribers:
            return
        frame = (
            f'{{"jsonrpc":"2.0","method":"{method}","params":{{{self._names()}"epoch":"{self.epoch}",'
            f'"seq":{self.seq},{rest}}}}}'
        )
        for subscriber in tuple(self.subscribers.values()):
            subscriber.push(frame)

    def _names(self) -> str:
        if not self._head:
            actor, key = (codec.encode_json(part).decode() for part in self.address)
            self._head = f'"actor":{actor},"key":{key},'
        return self._head
