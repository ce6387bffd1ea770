"""One bad request fails alone: how a group is tried, split and settled.

A group goes to the database in one transaction. If that fails, nothing of it is stored, and its halves are tried
instead, down to the request that is to blame: 2·log2(n) further transactions for one bad one. Whoever failed lately
goes alone for a while, so that the same actor doesn't split every group that it is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lightmoon_django.persistence.store import Failed, Load, Locked, Write
from lightmoon_django.persistence.trouble import is_lock

ALONE_FOR = 5.0  # seconds after its failure that a request of the same actor isn't grouped
SUSPECTS = 10_000  # remembered at most

Request = TypeVar("Request", Load, Write)
Attempt = Callable[[Sequence[Request]], Sequence[Any]]


class Grouping:
    """Runs groups. `whole_lock` says that a lock concerns everybody, as SQLite's: then splitting would not help."""

    def __init__(self, *, whole_lock: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._whole_lock = whole_lock
        self._clock = clock
        self._suspects: dict[tuple[str, str], float] = {}

    def run(self, requests: Sequence[Request], attempt: Attempt[Request]) -> list[Any]:
        """The outcomes in order. `attempt` stores a whole group, or raises and has stored nothing of it."""
        outcomes: list[Any] = [None] * len(requests)
        for places in self._groups(requests):
            self._try(places, requests, outcomes, attempt)
        return outcomes

    def _groups(self, requests: Sequence[Request]) -> list[list[int]]:
        if not self._suspects:
            return [list(range(len(requests)))] if requests else []
        now = self._clock()
        together: list[int] = []
        alone: list[int] = []
        for place, request in enumerate(requests):
            until = self._suspects.get((request.schema.name, request.key), 0.0)
            (alone if until > now else together).append(place)
        return ([together] if together else []) + [[place] for place in alone]

    def _try(
        self, places: list[int], requests: Sequence[Request], outcomes: list[Any], attempt: Attempt[Request]
    ) -> None:
        try:
            found = attempt([requests[place] for place in places])
        except Exception as error:
            self._split(places, requests, outcomes, attempt, error)
            return
        for place, outcome in zip(places, found, strict=True):
            outcomes[place] = outcome

    def _split(
        self,
        places: list[int],
        requests: Sequence[Request],
        outcomes: list[Any],
        attempt: Attempt[Request],
        error: Exception,
    ) -> None:
        locked = is_lock(error)
        if len(places) > 1 and not (locked and self._whole_lock):
            middle = len(places) // 2
            self._try(places[:middle], requests, outcomes, attempt)
            self._try(places[middle:], requests, outcomes, attempt)
            return
        for place in places:
            outcomes[place] = Locked() if locked else Failed(error)
        if not (locked and self._whole_lock):
            self._suspect(requests[places[0]])

    def _suspect(self, request: Load | Write) -> None:
        if len(self._suspects) >= SUSPECTS:
            self._suspects.clear()
        self._suspects[request.schema.name, request.key] = self._clock() + ALONE_FOR
