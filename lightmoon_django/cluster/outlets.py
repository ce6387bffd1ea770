"""Other nodes as subscribers of streams here: each frame goes once to a node, however many follow there.

Nodes that are reached by the channel layer share one outlet per stream, whose frames go to a group in one message for
all of them. Any other node has an outlet of its own, which sends by the link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import Aside, Ended, Guarded, Split, Streamed, StreamFrame, encode, size_of

MOST_PENDING = 1024 * 1024  # characters that wait for a layer; what is beyond is left for the nodes to ask for


class Outlet:
    """One node, or a group of nodes, as a subscriber of one stream. Implements `runtime.streams.Subscriber`."""

    __slots__ = ("_outlets", "_weight", "address", "epoch", "grouped", "id", "pending", "sending", "seq", "sessions")

    def __init__(self, outlets: Outlets, id: str, address: Address, grouped: bool) -> None:
        self._outlets = outlets
        self._weight = 0
        self.address = address
        self.epoch = ""
        self.grouped = grouped
        self.id = id
        self.pending: list[StreamFrame] = []
        self.sending = False  # a cast is on its way to the layer
        self.seq = 0  # of the last frame that was pushed
        self.sessions: dict[int, dict[str, Any]] = {}  # who follows on which node, and as which user

    def joined(self, peer: int, session: str, user: Any, position: Position) -> None:
        """A session there follows; every frame after that position is pushed here."""
        self.epoch, self.seq = position
        self.sessions.setdefault(peer, {})[session] = user

    def push(self, frame: str) -> None:
        self._add(frame)

    def push_guarded(self, address: Address, frame: Guarded) -> None:
        self._add(frame)

    def push_split(self, frames: Mapping[str, str], skip: str) -> None:
        """Most sessions there see the same: only the others are named."""
        found: dict[str, list[str]] = {}
        for sessions in self.sessions.values():
            for id in sessions:
                found.setdefault(frames.get(id, skip), []).append(id)
        rest = max(found, key=lambda frame: len(found[frame]), default=skip)
        others = tuple((frame, tuple(ids)) for frame, ids in found.items() if frame != rest)
        self._add(Split(rest, others) if others else rest)

    def push_aside(self, frame: str) -> None:
        self._outlets.aside(self, frame)

    def _add(self, frame: StreamFrame) -> None:
        self.seq += 1
        if not self.pending or self.sending:  # the nodes must hear of it, though it can't be cast yet
            self._outlets.hurry(self)
        self.pending.append(frame)
        self._weight += size_of(frame)
        if self.grouped and self._weight > MOST_PENDING:
            self.pending, self._weight = [], 0

    def reset(self, address: Address, reason: str) -> None:
        self._outlets.end(self, reason)

    def take(self, limit: int) -> Streamed:
        """The oldest frames that wait, up to about that many characters, and at least one."""
        first, count, size = self.seq - len(self.pending) + 1, 0, 0
        for frame in self.pending:
            size += size_of(frame)
            if count and size > limit:
                break
            count += 1
        frames, self.pending = tuple(self.pending[:count]), self.pending[count:]
        self._weight = sum(map(size_of, self.pending))
        return Streamed(*self.address, self.epoch, first, frames)


class Caster(Protocol):
    """How frames get to groups. Implemented by `casts.Casts`."""

    def send(self, outlet: Outlet) -> None:
        """Send what is pending, soon."""


class Outlets:
    """All outlets of this node. What is pushed in one pass of the loop travels together."""

    def __init__(
        self,
        offer: Callable[[int, bytes], bool],
        post: Callable[[int, bytes], None],
        call_soon: Callable[[Callable[[], None]], object],
        left: Callable[[Outlet, str, str, Any], None],
    ) -> None:
        """`offer` tells whether the frame was taken; else that node is taken out of the stream, and it is reset.

        `left(outlet, id, session, user)` hears of each session that is gone, with the outlet's id if it was the last.
        """
        self._offer = offer
        self._post = post
        self._call_soon = call_soon
        self._left = left
        self._all: dict[tuple[int, Address], Outlet] = {}
        self.groups: dict[Address, Outlet] = {}  # of streams that are cast
        self.waiting: list[Outlet] = []  # whose frames are yet to leave
        self.caster: Caster | None = None  # set where there is a layer

    def of(self, peer: int, address: Address, grouped: bool) -> Outlet:
        """The outlet by which that node follows; made if there is none."""
        found = self._all.get((peer, address))
        if found is None:
            if grouped and self.caster is not None:
                found = self.groups.get(address)
                if found is None:
                    found = self.groups[address] = Outlet(self, "nodes", address, True)
            else:
                found = Outlet(self, f"node-{peer}", address, False)
            self._all[peer, address] = found
        return found

    def find(self, peer: int, address: Address) -> Outlet | None:
        return self._all.get((peer, address))

    def position(self, peer: int, address: Address) -> Position | None:
        """What that node must have got before an answer of the actor's; None where the link sees to the order."""
        found = self._all.get((peer, address))
        return Position(found.epoch, found.seq) if found is not None and found.grouped else None

    def hurry(self, outlet: Outlet) -> None:
        if not self.waiting:
            self._call_soon(self.flush)
        self.waiting.append(outlet)

    def flush(self) -> None:
        """Send what waits. Also called before anything else is sent to those nodes, to keep the order."""
        outlets, self.waiting = self.waiting, []
        for outlet in outlets:
            if outlet.grouped:
                if self.caster is not None:
                    self.caster.send(outlet)
            elif outlet.pending:
                self.deliver(outlet, outlet.take(2**63))

    def deliver(self, outlet: Outlet, frames: Streamed) -> None:
        """Send frames by the links of its nodes."""
        data = encode(frames)
        for peer in list(outlet.sessions):
            if not self._offer(peer, data):
                self.drop(outlet, peer, "overflow")

    def aside(self, outlet: Outlet, frame: str) -> None:
        """Send what has no number by the links of its nodes, behind what was pushed so far."""
        self.flush()
        data = encode(Aside(*outlet.address, outlet.epoch, outlet.seq, frame))
        for peer in list(outlet.sessions):
            if not self._offer(peer, data):
                self.drop(outlet, peer, "overflow")

    def drop(self, outlet: Outlet, peer: int, reason: str) -> None:
        """That node can't follow any longer: take it out, and say so."""
        self.leave_all(outlet, peer)
        self._post(peer, encode(Ended(*outlet.address, reason)))

    def end(self, outlet: Outlet, reason: str) -> None:
        """The stream is over for all nodes."""
        self.flush()
        if outlet.pending:  # that were to be cast
            self.deliver(outlet, outlet.take(2**63))
        self.groups = {key: one for key, one in self.groups.items() if one is not outlet}
        frame = encode(Ended(*outlet.address, reason))
        for peer in outlet.sessions:
            if self._all.get((peer, outlet.address)) is outlet:
                del self._all[peer, outlet.address]
                self._post(peer, frame)
        outlet.sessions = {}
        outlet.pending = []

    def leave(self, peer: int, address: Address, session: str, user: Any) -> None:
        """A session there has gone."""
        outlet = self._all.get((peer, address))
        if outlet is None:
            return
        sessions = outlet.sessions.get(peer, {})
        if session in sessions:
            known = sessions.pop(session)
            user = known if user is None else user
        elif sessions:
            return
        if not sessions:
            self._forget(outlet, peer)
        self._left(outlet, "" if outlet.sessions else outlet.id, session, user)

    def leave_all(self, outlet: Outlet, peer: int) -> None:
        """All sessions there have gone."""
        sessions = outlet.sessions.get(peer, {})
        self._forget(outlet, peer)
        for session, user in sessions.items():
            self._left(outlet, "" if outlet.sessions else outlet.id, session, user)

    def died(self, peer: int) -> None:
        """Forget a dead node."""
        for key, outlet in list(self._all.items()):
            if key[0] == peer:
                self.leave_all(outlet, peer)

    def stop(self) -> None:
        """This node leaves the links; what waits for them is sent."""
        self.flush()
        for peer in {peer for peer, _ in self._all}:
            self.died(peer)

    def _forget(self, outlet: Outlet, peer: int) -> None:
        outlet.sessions.pop(peer, None)
        if self._all.get((peer, outlet.address)) is outlet:
            del self._all[peer, outlet.address]
        if not outlet.sessions and self.groups.get(outlet.address) is outlet:
            del self.groups[outlet.address]
