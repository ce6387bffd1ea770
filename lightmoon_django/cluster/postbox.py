"""What leaves for other nodes, in order, also when a link is full for a while."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.sendwindow import FrameTooLarge, LinkFull

logger = logging.getLogger("lightmoon")

AGAIN = 0.005  # seconds until a full link is tried again
MOST_WAITING = 16 * 1024 * 1024  # bytes for one peer past which its calls had better be refused


class Postbox:
    """Frames to all peers. `post` is for answers, of which there are no more than calls; they wait for room.

    Whoever reads more slowly than it calls would let them pile up: `crowded` says whose calls are to be refused.
    """

    def __init__(self, send: Callable[[int, bytes], None], clock: Clock) -> None:
        """`send` is `Network.send`."""
        self.crowded: set[int] = set()  # peers for which too much waits
        self._send = send
        self._clock = clock
        self._waiting: dict[int, deque[bytes]] = {}
        self._weights: dict[int, int] = {}  # bytes that wait
        self._timer: Cancellable | None = None

    @property
    def empty(self) -> bool:
        return not self._waiting

    def send(self, peer: int, frame: bytes) -> None:
        """Send now. Raises as `Network.send` does."""
        if peer in self._waiting:
            raise LinkFull("Answers are waiting for room on the link.", retry_after=0.1)
        self._send(peer, frame)

    def offer(self, peer: int, frame: bytes) -> bool:
        """Send now, if there is room. False: it was not taken."""
        try:
            self.send(peer, frame)
        except (LinkFull, FrameTooLarge):
            return False
        except LinkClosed:
            pass  # nobody is there any more
        return True

    def post(self, peer: int, frame: bytes) -> None:
        """Send as soon as there is room. Never raises; what is for a dead node is dropped. Not for huge frames."""
        if peer in self._waiting:
            self._keep(peer, frame)
            return
        try:
            self._send(peer, frame)
        except LinkFull:
            self._waiting[peer] = deque()
            self._keep(peer, frame)
            self._watch()
        except (LinkClosed, FrameTooLarge) as error:
            logger.debug("A frame to node %s was dropped: %s", peer, error)

    def _keep(self, peer: int, frame: bytes) -> None:
        self._waiting[peer].append(frame)
        weight = self._weights[peer] = self._weights.get(peer, 0) + len(frame)
        if weight > MOST_WAITING:
            self.crowded.add(peer)

    def died(self, peer: int) -> None:
        self._waiting.pop(peer, None)
        self._weights.pop(peer, None)
        self.crowded.discard(peer)

    def stop(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + AGAIN, self._retry)

    def _retry(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, {}
        self._weights.clear()
        self.crowded.clear()
        for peer, frames in waiting.items():
            for frame in frames:
                self.post(peer, frame)
        if self._waiting:
            self._watch()
