"""A link: frames from this node to one other and back, in order, each exactly once, over carriers that lose some.

Prior art: TCP, whose sliding window, cumulative acknowledgements, delayed acknowledgements and time-outs these are, one
floor higher; and Erlang's distribution, which keeps one ordered stream per pair of nodes. TCP itself is not enough: a
channel layer is no stream, and a Unix socket that breaks does not say how much of what was written had been read. An
acknowledgement here says that the frame was handed to the receiving program.

All frames of one pass of the event loop leave in one batch: sealing, framing and the write are paid once for all. Where
a packet is cheap, a frame with nothing unacknowledged before it leaves at once (Nagle's rule, RFC 896, with the pass in
place of the round trip): a lone ask does not wait for company, and a hundred of them still share a few packets.

`link` and `peer` in each batch name the two ends, and frames count only at the end that they were meant for: so
the first batch between two nodes is no more than a greeting, and is sent again as soon as it is answered. A node that
was started again has another incarnation, and so another link. Should a node start its end of this one again under the
same incarnation, what was on its way there is given back as lost, and nothing from before is taken for something new.
"""

from __future__ import annotations

import itertools
import logging
import random
from collections.abc import Callable
from typing import Protocol

from lightmoon_django.clock import Clock
from lightmoon_django.cluster.receivewindow import ReceiveWindow
from lightmoon_django.cluster.roundtrips import RoundTrips
from lightmoon_django.cluster.sendwindow import WINDOW, Piece, SendWindow
from lightmoon_django.cluster.traffic import Traffic
from lightmoon_django.cluster.wire import Batch, Wire
from lightmoon_django.errors import Unavailable

logger = logging.getLogger("lightmoon")

ACK_WITHIN = 0.02  # seconds that an acknowledgement may wait for frames to travel with
ACK_EVERY = WINDOW // 8  # bytes after which it doesn't wait
HEAD = 128  # bytes of a batch beside its frames

_NO_MORE: list[int] = []
_starts = itertools.count(1)  # an incarnation is one process, so counting there orders its ends of links


class LinkClosed(Unavailable):
    """The other node is dead, or this one's network has stopped. The frame was not taken."""


class Path(Protocol):
    """The way to one node over a carrier. Packets on it may get lost, repeated and out of order."""

    @property
    def limit(self) -> int:
        """Bytes of the largest packet."""

    @property
    def patience(self) -> float:
        """Seconds to wait at least before something counts as lost."""

    @property
    def ready(self) -> bool:
        """Whether it takes another packet now. When it does again, it calls the link's `resume`."""

    @property
    def private(self) -> bool:
        """Whether only this node can write to it: then packets need no seal."""

    @property
    def prompt(self) -> bool:
        """Whether a packet costs so little that a lone frame needn't wait for others of the same pass."""

    def send(self, packet: bytes) -> None:
        """Take a packet. Only called while it is ready; never raises."""

    def close(self) -> None:
        """Give up what it has not sent."""


class Link:
    """One peer. Everything is called on the event loop."""

    def __init__(
        self,
        me: int,
        peer: int,
        wire: Wire,
        path: Path,
        *,
        clock: Clock,
        call_soon: Callable[[Callable[[], None]], object],
        deliver: Callable[[int, bytes], None],
        lost: Callable[[int, list[bytes]], None],
        traffic: Traffic,
        rng: random.Random,
    ) -> None:
        """`deliver(peer, frame)` takes an incoming frame; what it raises is logged.

        `lost(peer, frames)` gets frames that may or may not have arrived.
        """
        self.peer = peer
        self._me = me
        self._wire = wire
        self._path = path
        self._clock = clock
        self._call_soon = call_soon
        self._deliver = deliver
        self._lost = lost
        self._traffic = traffic
        self._here = next(_starts)
        self._there = 0
        self._out = SendWindow()
        self._in = ReceiveWindow()
        self._rng = rng
        self._trips = RoundTrips(rng)
        self._closed = False
        self._scheduled = False
        self._ack_due = False
        self._ack_now = False
        self._ack_timer = False
        self._bytes_to_ack = 0
        self._since = 0.0  # the time-out counts from here
        self._timer = False

    @property
    def held(self) -> int:
        """Bytes that were accepted and are not acknowledged."""
        return self._out.held

    @property
    def settled(self) -> bool:
        """Whether everything has arrived, in both directions, and both ends know."""
        return not self._out.held and not self._ack_due

    def send(self, frame: bytes) -> None:
        """Let a frame leave in this pass. Raises `LinkFull`, `FrameTooLarge` and `LinkClosed`."""
        if self._closed:
            raise LinkClosed(f"There is no link to incarnation {self.peer} any more.")
        path, out = self._path, self._out
        if path.prompt and self._there and not self._scheduled and path.ready and out.lone(frame):
            self._traffic.frames_sent += 1
            self._leave(out.base, [frame], _NO_MORE)
            return
        out.push(frame)
        self._traffic.frames_sent += 1
        if self._scheduled:
            return
        if path.prompt and not out.in_flight:
            self._transmit_all()
        else:
            self._schedule()

    def receive(self, batch: Batch) -> None:
        """Take what the peer has sent."""
        if self._closed or batch.link < self._there:
            self._traffic.drop("late", batch.sender)
            return
        if batch.link > self._there:
            self._meet(batch.link)
        if batch.peer != self._here:  # the peer must be told which end it has to do with, and send again
            self._owe(urgent=True)
            return
        if batch.ack > self._out.base:
            self._acked(batch.ack)
        if batch.frames:
            self._accept(batch)

    def resume(self, lost: bool = False) -> None:
        """The path is ready again, or goes another way now. `lost`: what was on its way may not have arrived."""
        if self._closed:
            return
        if lost:
            self._resend()
        self._schedule()

    def acknowledge(self) -> None:
        """Let a pending acknowledgement leave at once instead of waiting for company."""
        if self._ack_due and not self._closed:
            self._ack_now = True
            self._schedule()

    def unsent(self) -> list[bytes]:
        """The frames that certainly haven't arrived, for they never left."""
        return self._out.unsent()

    def close(self) -> list[bytes]:
        """End the link for good. Returns the frames that may not have arrived, in order."""
        self._closed = True
        self._path.close()
        return self._out.drain()

    def _meet(self, there: int) -> None:
        """The first batch from this start of the peer's end. What went there before did not count."""
        if self._there:
            self._in = ReceiveWindow()
            self._trips = RoundTrips(self._rng)
            if frames := self._out.drain(sent_only=True):
                self._lost(self.peer, frames)
        self._there = there
        self._out.rewind()
        self._schedule()

    def _acked(self, upto: int) -> None:
        if not self._out.ack(upto):
            return
        now = self._since = self._clock.monotonic()
        if not self._trips.idle:
            self._trips.acked(upto, now)
        if self._out.waiting:
            self._schedule()

    def _accept(self, batch: Batch) -> None:
        before = self._in.duplicates
        frames = self._in.accept(batch.first, batch.frames, batch.more)
        repeated = self._in.duplicates - before
        self._bytes_to_ack += sum(map(len, batch.frames))
        self._ack_due = True
        if repeated or not self._ack_timer or self._bytes_to_ack >= ACK_EVERY:
            self._traffic.duplicates += repeated
            self._owe(urgent=bool(repeated))  # a repetition means that an acknowledgement was lost or late
        for frame in frames:
            if self._closed:  # by the frame before
                return
            self._traffic.frames_received += 1
            try:
                self._deliver(self.peer, frame)
            except Exception:
                logger.exception("Handling a frame failed.", extra={"action": "frame_failed", "incarnation": self.peer})

    def _owe(self, *, urgent: bool) -> None:
        """An acknowledgement is due: with the next frames, or soon without any."""
        self._ack_due = True
        if urgent or self._bytes_to_ack >= ACK_EVERY:
            self.acknowledge()
        elif not self._ack_timer:
            self._ack_timer = True
            self._clock.call_at(self._clock.monotonic() + ACK_WITHIN, self._ack_waited)

    def _ack_waited(self) -> None:
        self._ack_timer = False
        self.acknowledge()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        self._transmit_all()
        if self._ack_now and self._path.ready:
            self._transmit([])

    def _transmit_all(self) -> None:
        while self._out.sendable and self._path.ready and (self._there or not self._out.in_flight):
            self._transmit(self._out.take(self._path.limit - HEAD))

    def _transmit(self, pieces: list[Piece]) -> None:
        frames, more = [piece.data for piece in pieces], _NO_MORE
        if len(frames) > 1 or (frames and pieces[0].more):
            more = [position for position, piece in enumerate(pieces) if piece.more]
        self._leave(self._out.next - len(pieces), frames, more)

    def _leave(self, first: int, frames: list[bytes], more: list[int]) -> None:
        batch = Batch(self._me, self.peer, self._here, self._there, first, self._in.expected, frames, more)
        self._ack_due = self._ack_now = False
        self._bytes_to_ack = 0
        self._traffic.batches_sent += 1
        self._path.send(self._wire.encode(batch) if self._path.private else self._wire.seal(batch))
        if frames:
            self._watch(first + len(frames), alone=first == self._out.base)

    def _watch(self, upto: int, *, alone: bool) -> None:
        """See to it that what is on its way is sent again some time. One timer per link, moved only when it fires."""
        now = self._clock.monotonic()
        self._trips.sent(upto, now)
        if alone or not self._timer:
            self._since = now
        if not self._timer:
            self._timer = True
            self._clock.call_at(now + self._trips.timeout(self._path.patience), self._waited)

    def _waited(self) -> None:
        self._timer = False
        if self._closed or not self._out.in_flight:
            return
        now = self._clock.monotonic()
        until = self._since + self._trips.timeout(self._path.patience)
        if now >= until:
            if self._path.ready:  # else it is not lost but stuck, and more of it would not help
                self._resend()
            self._since = now
            until = now + self._trips.timeout(self._path.patience)
        self._timer = True
        self._clock.call_at(until, self._waited)

    def _resend(self) -> None:
        if count := self._out.rewind():
            self._traffic.resent += count
            self._trips.lost()
            self._schedule()
