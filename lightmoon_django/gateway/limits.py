"""How much one client may ask for."""

from __future__ import annotations

from typing import NoReturn

from lightmoon_django.errors import Overloaded, TooLarge

BATCH_LIMIT = 1000  # messages; a million of two bytes each would be answered with a hundred megabytes
COPIES = 1000  # of one call, that wait for its answer
KEPT_FRAMES = 256  # handed out over HTTP and not yet acknowledged, of one session
KEPT_ANSWERS = 64  # answers by string id of one session


class Bucket:
    """A token bucket: `rate` calls per second in the long run, `burst` at once."""

    __slots__ = ("_burst", "_rate", "_stamp", "_tokens", "_what")

    def __init__(
        self, rate: float, burst: float, now: float, what: str = "calls per second came from this connection"
    ) -> None:
        """`what` is counted, for those who are told that it is too much."""
        self._what = what
        self._rate = rate
        self._burst = max(1.0, burst)
        self._tokens = self._burst
        self._stamp = now

    def take(self, now: float) -> None:
        """Spend one call. Raises `Overloaded` with the time until the next one is free."""
        tokens = self._tokens + (now - self._stamp) * self._rate
        self._stamp = now
        if tokens >= 1.0:
            self._tokens = tokens - 1.0 if tokens < self._burst else self._burst - 1.0
            return
        self._tokens = tokens
        self._refuse(tokens)

    def check(self, now: float) -> None:
        """Raise as `take` would, and spend nothing."""
        tokens = self._tokens + (now - self._stamp) * self._rate
        if tokens < 1.0:
            self._refuse(tokens)

    def _refuse(self, tokens: float) -> NoReturn:
        raise Overloaded(f"More than {self._rate:g} {self._what}.", retry_after=round((1.0 - tokens) / self._rate, 3))


def check_request(frame: str, limit: int) -> None:
    """Raise `TooLarge` for a frame of more than `limit` bytes."""
    if len(frame) > limit or (not frame.isascii() and len(frame.encode(errors="replace")) > limit):
        raise TooLarge(f"A request may have {limit} bytes.")


def response_too_large(payload: bytes, limit: int) -> TooLarge:
    """The error in place of a result of more than `limit` bytes."""
    return TooLarge(f"The answer has {len(payload)} bytes and may have {limit}.")
