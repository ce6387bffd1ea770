"""The outgoing half of a link: what was accepted and is not acknowledged yet. It knows neither time nor carriers.

A sliding window with cumulative acknowledgements, as in TCP (RFC 9293). A frame that is too large for one batch is cut
into pieces, and each piece has its own sequence number: so one large frame and many small ones are bounded, resent and
acknowledged by the same few lines. When a time-out says that something got lost, everything unacknowledged is sent
again ("go back N"): the receiver keeps what came out of order, and the usual loss here, a Redis that was restarted or
flushed, takes all that was on its way anyhow.
"""

from __future__ import annotations

from collections import deque

import msgspec

from lightmoon_django.errors import Overloaded, TooLarge

WINDOW = 4 * 1024 * 1024  # bytes that may be unacknowledged
MAX_FRAME = 32 * 1024 * 1024  # bytes
PIECE = 128 * 1024  # bytes; the smallest limit of a carrier must be larger
WEIGHT = 64  # bytes that a piece is counted with beside its own: what keeping it costs


class LinkFull(Overloaded):
    """Too much is unacknowledged on the link. The frame was not taken; nothing of it will arrive."""


class FrameTooLarge(TooLarge):
    """A frame over `MAX_FRAME`. It was not taken."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One sequence number's worth of a frame."""

    frame: bytes
    data: bytes
    more: bool  # the next piece continues the frame
    size: int  # bytes that it is counted with


class SendWindow:
    """The frames of one link on their way out, in order."""

    def __init__(self) -> None:
        self.base = 0  # the sequence number of the oldest unacknowledged piece
        self.held = 0  # bytes accepted and unacknowledged
        self.in_flight = 0  # bytes of those that were handed to the carrier
        self._sent = 0  # every piece below was handed to a carrier at least once
        self._flying: deque[Piece] = deque()  # handed to the carrier
        self.waiting: deque[Piece] = deque()  # yet to be

    @property
    def next(self) -> int:
        """The sequence number of the next piece that `take` gives."""
        return self.base + len(self._flying)

    @property
    def sendable(self) -> bool:
        """Whether `take` would give anything."""
        return bool(self.waiting) and self.in_flight < WINDOW

    def push(self, frame: bytes) -> None:
        """Accept a frame. Raises `LinkFull` and `FrameTooLarge`.

        The last frame that is accepted may exceed the window, however large it is: a frame larger than the window
        would otherwise never find room on a busy link.
        """
        if len(frame) > MAX_FRAME:
            raise FrameTooLarge(f"A frame of {len(frame)} bytes is over the limit of {MAX_FRAME} between nodes.")
        if self.held >= WINDOW:
            raise LinkFull(f"{self.held} bytes are waiting for the node's acknowledgement.", retry_after=0.1)
        if len(frame) <= PIECE:
            self._add(Piece(frame, frame, False, len(frame) + WEIGHT))
            return
        for start in range(0, len(frame), PIECE):
            data = frame[start : start + PIECE]
            self._add(Piece(frame, data, start + PIECE < len(frame), len(data) + WEIGHT))

    def lone(self, frame: bytes) -> bool:
        """Accept a frame that leaves now, as number `base`. False: others are under way, or it is too large."""
        if self._flying or self.waiting or len(frame) > PIECE:
            return False
        size = len(frame) + WEIGHT
        self._flying.append(Piece(frame, frame, False, size))
        self.held = self.in_flight = size
        self._sent = self.base + 1
        return True

    def _add(self, piece: Piece) -> None:
        self.waiting.append(piece)
        self.held += piece.size

    def take(self, limit: int) -> list[Piece]:
        """The next pieces, for one batch of at most `limit` bytes, as far as the window is open. They leave now."""
        if len(self.waiting) == 1 and self.in_flight < WINDOW:  # nearly always, when little goes on
            piece = self.waiting.popleft()
            self._flying.append(piece)
            self.in_flight += piece.size
            if self._sent < self.next:
                self._sent = self.next
            return [piece]
        taken: list[Piece] = []
        room = limit
        while self.waiting and self.in_flight < WINDOW:
            size = self.waiting[0].size
            if size > room and taken:
                break
            room -= size
            self.in_flight += size
            taken.append(self.waiting.popleft())
        self._flying.extend(taken)
        self._sent = max(self._sent, self.next)
        return taken

    def ack(self, upto: int) -> bool:
        """Every piece below `upto` has arrived. True when that is news."""
        if not self.base < upto <= self._sent:
            return False
        while self.base < upto:
            if self._flying:
                piece = self._flying.popleft()
                self.in_flight -= piece.size
            else:  # it was to be sent again, and the first time did arrive
                piece = self.waiting.popleft()
            self.held -= piece.size
            self.base += 1
        return True

    def rewind(self) -> int:
        """Everything unacknowledged is to be sent again. How many pieces that are."""
        count = len(self._flying)
        self.waiting.extendleft(reversed(self._flying))
        self._flying.clear()
        self.in_flight = 0
        return count

    def unsent(self) -> list[bytes]:
        """The frames of which nothing was handed to a carrier yet: they can't have arrived."""
        pieces = [*self._flying, *self.waiting]
        return [piece.frame for piece in pieces[self._cut(pieces) :] if not piece.more]

    def _cut(self, pieces: list[Piece]) -> int:
        """From where on they belong to frames of which nothing was handed to a carrier."""
        cut = self._sent - self.base
        while 0 < cut < len(pieces) and pieces[cut - 1].more:
            cut += 1
        return cut

    def drain(self, *, sent_only: bool = False) -> list[bytes]:
        """Give up what is unacknowledged: the whole frames, in order, and count from 0 again.

        `sent_only`: keep the frames of which nothing was handed to a carrier yet.
        """
        pieces = [*self._flying, *self.waiting]
        cut = self._cut(pieces) if sent_only else len(pieces)
        self._flying.clear()
        self.waiting = deque(pieces[cut:])
        self.base = self.in_flight = self._sent = 0
        self.held = sum(piece.size for piece in self.waiting)
        return [piece.frame for piece in pieces[:cut] if not piece.more]
