"""The last answers of a session by string id, so that a call that is sent again is answered and not run again."""

from __future__ import annotations

from lightmoon_django.codec import weigh
from lightmoon_django.gateway.limits import KEPT_ANSWERS


class Answers:
    """A bounded memory: the newest `KEPT_ANSWERS` within `limit` bytes."""

    __slots__ = ("_kept", "_limit", "_weight")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, tuple[int, str]] = {}
        self._weight = 0

    def keep(self, request_id: str, fingerprint: int, frame: str) -> None:
        """Remember the frame that answered a call; forget the oldest ones for it."""
        self._kept[request_id] = (fingerprint, frame)
        self._weight += weigh(frame)
        while len(self._kept) > KEPT_ANSWERS or self._weight > self._limit:
            _, forgotten = self._kept.pop(next(iter(self._kept)))
            self._weight -= weigh(forgotten)

    def find(self, request_id: str) -> tuple[int, str] | None:
        """The fingerprint of the call with that id, and its answer."""
        return self._kept.get(request_id)
