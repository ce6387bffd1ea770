"""Other nodes as subscribers of streams here: each frame goes once to a node, however many follow there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightmoon_django.identity import Address
from lightmoon_django.messages import Ended, Guarded, Split, Streamed, encode


class Outlet:
    """One node as a subscriber of one stream. Implements `runtime.streams.Subscriber`."""

    __slots__ = ("_outlets", "address", "id", "peer", "pending", "sessions")

    def __init__(self, outlets: Outlets, peer: int, address: Address) -> None:
        self._outlets = outlets
        self.address = address
        self.id = f"node-{peer}"
        self.peer = peer
        self.pending: list[str | Guarded | Split] = []
        self.sessions: dict[str, Any] = {}  # who follows there, and as which user

    def push(self, frame: str) -> None:
        self._add(frame)

    def push_guarded(self, address: Address, frame: Guarded) -> None:
        self._add(frame)

    def push_split(self, frames: Mapping[str, str], skip: str) -> None:
        """Most sessions of that node see the same: only the others are named."""
        groups: dict[str, list[str]] = {}
        for id in self.sessions:
            groups.setdefault(frames.get(id, skip), []).append(id)
        rest = max(groups, key=lambda frame: len(groups[frame]), default=skip)
        others = tuple((frame, tuple(ids)) for frame, ids in groups.items() if frame != rest)
        self._add(Split(rest, others) if others else rest)

    def _add(self, frame: str | Guarded | Split) -> None:
        if not self.pending:
            self._outlets.hurry(self)
        self.pending.append(frame)

    def reset(self, address: Address, reason: str) -> None:
        self._outlets.end(self, reason)


class Outlets:
    """All outlets of this node. What is pushed in one pass of the loop travels together."""

    def __init__(
        self,
        offer: Callable[[int, bytes], bool],
        post: Callable[[int, bytes], None],
        call_soon: Callable[[Callable[[], None]], object],
        drop: Callable[[Outlet], None],
    ) -> None:
        """`offer` tells whether the frame was taken; else `drop` takes that node out of the stream, and it is reset."""
        self._offer = offer
        self._post = post
        self._call_soon = call_soon
        self._drop = drop
        self._all: dict[tuple[int, Address], Outlet] = {}
        self._full: list[Outlet] = []

    def of(self, peer: int, address: Address) -> Outlet:
        found = self._all.get((peer, address))
        if found is None:
            found = self._all[peer, address] = Outlet(self, peer, address)
        return found

    def find(self, peer: int, address: Address) -> Outlet | None:
        return self._all.get((peer, address))

    def hurry(self, outlet: Outlet) -> None:
        if not self._full:
            self._call_soon(self.flush)
        self._full.append(outlet)

    def flush(self) -> None:
        """Send what waits. Also called before anything else is sent to those nodes, to keep the order."""
        outlets, self._full = self._full, []
        for outlet in outlets:
            frames, outlet.pending = tuple(outlet.pending), []
            if not self._offer(outlet.peer, encode(Streamed(*outlet.address, frames))):
                self._drop(outlet)
                self.end(outlet, "overflow")

    def end(self, outlet: Outlet, reason: str) -> None:
        """The stream is over for that node."""
        self.flush()
        if self._all.get((outlet.peer, outlet.address)) is outlet:
            del self._all[outlet.peer, outlet.address]
            self._post(outlet.peer, encode(Ended(*outlet.address, reason)))

    def forget(self, outlet: Outlet) -> None:
        """Nobody follows there any more."""
        self._all.pop((outlet.peer, outlet.address), None)

    def died(self, peer: int) -> list[Outlet]:
        """Forget a dead node; its outlets, for the streams to forget too."""
        return [self._all.pop(key) for key in list(self._all) if key[0] == peer]
