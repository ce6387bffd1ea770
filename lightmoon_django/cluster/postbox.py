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


class Postbox:
    """Frames to all peers. `post` is for answers, of which there are no more than calls; they wait for room."""

    def __init__(self, send: Callable[[int, bytes], None], clock: Clock) -> None:
        """`send` is `Network.send`."""
        self._send = send
        self._clock = clock
        self._waiting: dict[int, deque[bytes]] = {}
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
        waiting = self._waiting.get(peer)
        if waiting is not None:
            waiting.append(frame)
            return
        try:
            self._send(peer, frame)
        except LinkFull:
            self._waiting[peer] = deque([frame])
            self._watch()
        except (LinkClosed, FrameTooLarge) as error:
            logger.debug("A frame to node %s was dropped: %s", peer, error)

    def died(self, peer: int) -> None:
        self._waiting.pop(peer, None)

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
        for peer, frames in waiting.items():
            for frame in frames:
                self.post(peer, frame)
        if self._waiting:
            self._watch()
