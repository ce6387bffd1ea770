"""The incoming half of a link: puts frames into order, once each, and together again.

Batches that are early are kept, not dropped: a layer carrier has several in flight and orders them by wall clocks, so
that being early usually means a millisecond, where a retransmission would cost a hundred.
"""

from __future__ import annotations

from collections.abc import Collection

from lightmoon_django.cluster.sendwindow import MAX_FRAME, PIECE, WEIGHT, WINDOW

MOST_EARLY = WINDOW + PIECE + WEIGHT  # bytes; no honest sender has more on its way


class ReceiveWindow:
    """What has arrived on one link."""

    def __init__(self) -> None:
        self.expected = 0  # every piece below has arrived
        self._early: dict[int, tuple[bytes, bool]] = {}
        self._early_bytes = 0
        self._parts: list[bytes] = []  # of a frame whose end has not come yet
        self._parts_bytes = 0
        self.duplicates = 0

    def accept(self, first: int, pieces: list[bytes], more: Collection[int]) -> list[bytes]:
        """Take a batch's pieces. Returns the frames that are whole now, in order."""
        if first == self.expected and not more and not self._early and not self._parts:  # nearly always
            self.expected += len(pieces)
            return pieces
        found: list[bytes] = []
        for position, data in enumerate(pieces):
            number, continues = first + position, position in more
            if number == self.expected:
                self._next(data, continues, found)
            elif number < self.expected or number in self._early:
                self.duplicates += 1
            else:
                self._keep(number, data, continues)
        while self.expected in self._early:
            data, continues = self._early.pop(self.expected)
            self._early_bytes -= len(data) + WEIGHT
            self._next(data, continues, found)
        return found

    def _next(self, data: bytes, continues: bool, found: list[bytes]) -> None:
        self.expected += 1
        if not continues and not self._parts_bytes:
            found.append(data)
            return
        self._parts_bytes += len(data)
        if self._parts_bytes > MAX_FRAME:  # no sender of ours makes it
            self._parts.clear()
        else:
            self._parts.append(data)
        if not continues:
            if self._parts:
                found.append(b"".join(self._parts))
            self._parts, self._parts_bytes = [], 0

    def _keep(self, number: int, data: bytes, continues: bool) -> None:
        size = len(data) + WEIGHT
        if self._early_bytes + size <= MOST_EARLY:
            self._early[number] = (data, continues)
            self._early_bytes += size
