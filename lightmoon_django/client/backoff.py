"""Delays between attempts: exponential with full jitter.

Clients that lost the same server come back spread over the whole delay, and not all at once.
"""

from __future__ import annotations

import random

BASE = 1.0  # seconds
CAP = 30.0  # seconds


class Backoff:
    __slots__ = ("_attempts", "base", "cap")

    def __init__(self, base: float = BASE, cap: float = CAP) -> None:
        self.base = base
        self.cap = cap
        self._attempts = 0

    def next(self, least: float = 0.0) -> float:
        """Seconds to wait before the next attempt, at least `least` and then spread anew."""
        ceiling: float = min(self.cap, self.base * 2 ** min(self._attempts, 30))
        self._attempts += 1
        return least + random.random() * max(ceiling, least / 2)

    def reset(self) -> None:
        """An attempt succeeded for good."""
        self._attempts = 0
