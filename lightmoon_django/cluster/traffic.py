"""What went over a node's links, counted."""

from __future__ import annotations

import collections
import dataclasses
import logging

logger = logging.getLogger("lightmoon")


@dataclasses.dataclass(slots=True)
class Traffic:
    """Counters of one network. Only the event loop writes them."""

    frames_sent: int = 0
    frames_received: int = 0
    batches_sent: int = 0
    batches_received: int = 0
    casts_sent: int = 0
    casts_received: int = 0
    resent: int = 0  # pieces of frames that were sent again
    duplicates: int = 0  # pieces that came again
    dropped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def drop(self, reason: str, detail: object = "") -> None:
        """Count a packet that is not used. The first of each reason is logged: one mistake makes thousands."""
        self.dropped[reason] += 1
        if self.dropped[reason] == 1:
            logger.warning(
                "A packet from another node was dropped: %s %s (further ones are only counted)",
                reason,
                detail,
                extra={"action": "packet_dropped", "reason": reason},
            )
