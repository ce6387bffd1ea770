"""Streams of actors that live on other nodes, as this node's sessions follow them.

The owner sends each frame once to a node, which hands it to its own subscribers. A link is in order and the owner
sends what waits for a node before any answer to it: so a session that is added when the answer to its subscription
comes gets every frame after the position in that answer, and none before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from lightmoon_django.identity import Address
from lightmoon_django.messages import Ended, Guarded, Split, Streamed


class Subscriber(Protocol):
    """Who listens; a session of the gateway."""

    id: str

    def push(self, frame: str) -> None: ...

    def push_guarded(self, address: Address, frame: Guarded) -> None: ...

    def push_split(self, frames: Mapping[str, str], skip: str) -> None: ...

    def reset(self, address: Address, reason: str) -> None: ...


class Mirrors:
    """The streams that this node follows, each with the node that it comes from and who listens here."""

    def __init__(self) -> None:
        self._followers: dict[Address, dict[str, Subscriber]] = {}
        self._sources: dict[Address, int] = {}

    def join(self, address: Address, source: int, subscriber: Subscriber) -> None:
        """The owner has subscribed this node for that session."""
        if self._sources.get(address, source) != source:
            self._end(address, "moved")
        self._sources[address] = source
        self._followers.setdefault(address, {})[subscriber.id] = subscriber

    def leave(self, address: Address, id: str) -> int | None:
        """Forget a subscriber: the node to tell. None: there was none."""
        followers = self._followers.get(address)
        if followers is None or followers.pop(id, None) is None:
            return None
        source = self._sources[address]
        if not followers:
            del self._followers[address], self._sources[address]
        return source

    def receive(self, source: int, frame: Streamed) -> bool:
        """Hand out what the owner sent. False: nobody here follows that."""
        address = Address(frame.actor, frame.key)
        if self._sources.get(address) != source:
            return False
        for one in frame.frames:
            others = {id: frame for frame, ids in one.others for id in ids} if isinstance(one, Split) else {}
            for subscriber in tuple(self._followers.get(address, {}).values()):
                if isinstance(one, Guarded):
                    subscriber.push_guarded(address, one)
                elif isinstance(one, Split):
                    subscriber.push_split(others, one.rest)
                else:
                    subscriber.push(one)
        return True

    def ended(self, source: int, frame: Ended) -> None:
        address = Address(frame.actor, frame.key)
        if self._sources.get(address) == source:
            self._end(address, frame.reason)

    def died(self, source: int) -> None:
        """A node is dead: its streams are broken off."""
        for address in [address for address, owner in self._sources.items() if owner == source]:
            self._end(address, "node lost")

    def stop(self) -> None:
        """This node has left its links: nothing comes any more."""
        for address in list(self._sources):
            self._end(address, "node lost")

    def _end(self, address: Address, reason: str) -> None:
        self._sources.pop(address, None)
        for subscriber in self._followers.pop(address, {}).values():
            subscriber.reset(address, reason)
