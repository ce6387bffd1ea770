"""How long to wait for an acknowledgement before sending again.

The estimator of TCP (RFC 6298, Jacobson and Karels): mean and deviation of measured round trips; a doubled time-out
after each loss; and Karn's rule that what was sent twice is not measured. A fixed 100 ms would send everything again
and again over a Redis whose queues are longer than that, just when it is overloaded.
"""

from __future__ import annotations

import random

SHORTEST = 0.1  # seconds; above the 20 ms that an acknowledgement may be held back
LONGEST = 2.0  # seconds
EVERY = 0.005  # seconds between two that are measured; the next one a moment later tells nothing new
JITTER = 0.2  # of the time-out, either way: links that lost the same Redis must not come back in step


class RoundTrips:
    """The round trips of one link. Times are seconds on a clock that the caller owns."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._mean = 0.0  # 0 until one was measured
        self._deviation = 0.0
        self._usual = SHORTEST  # the time-out without losses
        self.idle = True  # neither is one being measured nor was anything lost since the last
        self._losses = 0  # in a row
        self._highest = 0  # every piece below was sent before
        self._next = 0.0  # when another one is measured
        self._measured: tuple[int, float] | None = None  # a sequence number, and when what is below it was sent

    def sent(self, upto: int, now: float) -> None:
        """Pieces below `upto` were handed to the carrier."""
        if upto > self._highest:
            self._highest = upto
            if self._measured is None and now >= self._next:
                self._measured = (upto, now)
                self.idle = False

    def acked(self, upto: int, now: float) -> None:
        """The peer has what is below `upto`."""
        self._losses = 0
        if self._measured is not None and self._measured[0] <= upto:
            self._learn(now - self._measured[1])
            self._measured = None
            self._next = now + EVERY
        self.idle = self._measured is None

    def lost(self) -> None:
        """The time-out passed, or the carrier says that it lost something: what is unacknowledged is sent again."""
        self._losses += 1
        self._measured = None
        self.idle = False

    def timeout(self, shortest: float) -> float:
        """Seconds to wait from now on. `shortest` is what the carrier asks for."""
        wait = max(shortest, self._usual)
        if not self._losses:
            return wait
        wait = min(LONGEST, wait * (1 << min(self._losses, 8)))
        return wait * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _learn(self, took: float) -> None:
        if not self._mean:
            self._mean, self._deviation = took, took / 2
        else:
            self._deviation += (abs(took - self._mean) - self._deviation) / 4
            self._mean += (took - self._mean) / 8
        self._usual = min(LONGEST, max(SHORTEST, self._mean + 4 * self._deviation))
