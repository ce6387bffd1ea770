"""The last answers of a session by string id, so that a call that is sent again is answered and not run again."""

from __future__ import annotations

from lightmoon_django.codec import weigh
from lightmoon_django.gateway.limits import KEPT_ANSWERS


class Answers:
    """A bounded memory: at least the newest `KEPT_ANSWERS` within `limit` bytes, and less than twice as many.

    But for those that wait for the client: it sends all their calls again when it comes back.
    """

    __slots__ = ("_kept", "_limit", "_weight")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, tuple[int, str]] = {}
        self._weight = 0

    def keep(self, request_id: str, fingerprint: int, frame: str, waits: bool = False) -> None:
        """Remember the frame that answered a call; forget the oldest, unless it `waits` and there is room."""
        self._kept[request_id] = (fingerprint, frame)
        self._weight += weigh(frame)
        if not waits and len(self._kept) >= 2 * KEPT_ANSWERS:
            self._forget(len(self._kept) - KEPT_ANSWERS)
        elif self._weight > self._limit:
            self._forget(0)

    def _forget(self, surplus: int) -> None:
        """Many at a time: a dict passes all that were deleted from its front before it finds its first item."""
        for place, request_id in enumerate(tuple(self._kept)):
            if place >= surplus and self._weight <= self._limit:
                break
            self._weight -= weigh(self._kept.pop(request_id)[1])

    def find(self, request_id: str) -> tuple[int, str] | None:
        """The fingerprint of the call with that id, and its answer."""
        return self._kept.get(request_id)
