"""Streams of actors that live on other nodes, as this node's sessions follow them.

The owner sends each frame once to a node, which hands it to its own subscribers; or once for all nodes, by a cast to a
group. A link is in order and loses nothing, a cast promises neither. So frames are numbered, and a mirror puts them
into order. What it misses it asks the owner for, by the link; what the owner no longer has ends the stream here, and
the sessions are told.

An answer of the owner's names the position that it stands behind. It waits for the mirror to get there, so that a
session sees what a turn caused before the turn's reply, whichever way either came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.cluster.mirror import Mirror, Subscriber
from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import StreamFrame

GRACE = 0.03  # seconds that something may be late before it counts as lost
PATIENCE = 5.0  # seconds without progress after which a stream with a gap is given up


class Source(Protocol):
    """What mirrors want of the nodes that they follow. Implemented by `streaming.Streaming`."""

    def ask(self, mirror: Mirror) -> None:
        """Ask the owner for what follows on the mirror's position."""

    def began(self, mirror: Mirror) -> None:
        """A stream is followed from now on."""

    def ended(self, mirror: Mirror, *, known: bool) -> None:
        """It is followed no more. `known`: its owner knows."""


class Mirrors:
    """The streams that this node follows, each with the node that it comes from and who listens here."""

    def __init__(self, clock: Clock, source: Source) -> None:
        self._clock = clock
        self._source = source
        self._all: dict[Address, Mirror] = {}
        self._behind: dict[Address, Mirror] = {}
        self._timer: Cancellable | None = None

    def get(self, address: Address) -> Mirror | None:
        return self._all.get(address)

    def join(self, address: Address, source: int, position: Position, subscriber: Subscriber, grouped: bool) -> None:
        """The owner has subscribed this node for that session, which has what is up to that position."""
        mirror = self._all.get(address)
        if mirror is not None and (mirror.source, mirror.epoch) != (source, position.epoch):
            self._end(mirror, "moved", known=mirror.source == source)
        elif mirror is not None:
            mirror.leave(subscriber.id)  # what waited for it alone is told now, and may make others leave
        mirror = self._all.get(address)
        if mirror is None:
            mirror = self._all[address] = Mirror(address, source, position, grouped)
            mirror.join(subscriber, position.seq)
            self._source.began(mirror)
        elif mirror.join(subscriber, position.seq):
            self._chase(mirror)

    def leave(self, address: Address, id: str) -> int | None:
        """Forget a subscriber: the node to tell. None: there was none."""
        mirror = self._all.get(address)
        if mirror is None or not mirror.leave(id):
            return None
        if mirror.empty:
            self._forget(mirror)
            self._source.ended(mirror, known=True)
            mirror.release()
        return mirror.source

    def receive(self, source: int, address: Address, epoch: str, first: int, frames: tuple[StreamFrame, ...]) -> bool:
        """Hand out what the owner sent. False: nobody here follows that."""
        mirror = self._all.get(address)
        if mirror is None or mirror.source != source:
            return False
        if mirror.epoch == epoch:
            mirror.accept(first, frames)
            if mirror.behind:
                self._chase(mirror)
        return True

    def aside(self, source: int, address: Address, position: Position, frame: str) -> bool:
        """Hand out what has no number, once everybody has what is up to that position. False: nobody follows that.

        Who has just subscribed may wait for the same frames, and is told this after its answer.
        """
        mirror = self._all.get(address)
        if mirror is None or mirror.source != source:
            return False
        if mirror.epoch == position.epoch:
            self.after(source, address, position, lambda: mirror.aside(frame))
        return True

    def heard(self, source: int, address: Address, position: Position) -> None:
        """The owner says how far its stream has got."""
        mirror = self._all.get(address)
        if mirror is not None and (mirror.source, mirror.epoch) == (source, position.epoch):
            mirror.known = max(mirror.known, position.seq)
            if mirror.behind:
                self._chase(mirror)

    def after(self, source: int, address: Address, position: Position, then: Callable[[], object]) -> None:
        """Call `then` once subscribers here have what is up to that position, at once if none follow the stream."""
        mirror = self._all.get(address)
        if mirror is None or (mirror.source, mirror.epoch) != (source, position.epoch) or mirror.wanted >= position.seq:
            then()
        else:
            mirror.wait(position.seq, then)
            self._chase(mirror)

    def ended(self, source: int, address: Address, reason: str) -> None:
        """The owner says that a stream is over."""
        mirror = self._all.get(address)
        if mirror is not None and mirror.source == source:
            self._end(mirror, reason, known=True)

    def died(self, source: int) -> None:
        """A node is dead: its streams are broken off."""
        for mirror in [mirror for mirror in self._all.values() if mirror.source == source]:
            self._end(mirror, "node lost", known=True)

    def stop(self) -> None:
        """This node has left its links: nothing comes any more."""
        if self._timer is not None:
            self._timer.cancel()
        for mirror in list(self._all.values()):
            self._end(mirror, "node lost", known=True)

    def _end(self, mirror: Mirror, reason: str, *, known: bool) -> None:
        mirror.release()
        self._forget(mirror)
        self._source.ended(mirror, known=known)
        mirror.reset(reason)

    def _forget(self, mirror: Mirror) -> None:
        if self._all.get(mirror.address) is mirror:
            del self._all[mirror.address]
            self._behind.pop(mirror.address, None)

    # What is missing

    def _chase(self, mirror: Mirror) -> None:
        """Something is missing, or only late: look again in a moment, if anybody is left who misses it."""
        if self._all.get(mirror.address) is not mirror:
            return
        if mirror.address not in self._behind:
            self._behind[mirror.address] = mirror
            mirror.stuck_at, mirror.stuck_since, mirror.asked = mirror.wanted, self._clock.monotonic(), False
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + GRACE, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for address, mirror in list(self._behind.items()):
            if self._behind.get(address) is not mirror:
                continue  # the end of another one has made its followers leave
            if not mirror.behind:
                del self._behind[address]
            elif mirror.stuck_at != mirror.wanted:  # it goes on
                mirror.stuck_at, mirror.stuck_since, mirror.asked = mirror.wanted, now, False
            elif now - mirror.stuck_since >= PATIENCE:
                self._end(mirror, "gap", known=False)
            elif not mirror.asked and now - mirror.stuck_since >= GRACE:
                mirror.asked = True
                self._source.ask(mirror)
        if self._behind:
            self._timer = self._clock.call_at(now + GRACE, self._look)
