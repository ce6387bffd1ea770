"""What goes wrong on purpose while a test's block runs. The actors and their callers see what production would show."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from django.db import DatabaseError, OperationalError

from lightmoon_django.actor import registry
from lightmoon_django.identity import Address
from lightmoon_django.testing.address import address_of


class Faults:
    """The faults of one test. Blocks may be nested; each ends with its `with`."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is the node's monotonic clock."""
        self.failing: dict[Address, Exception] = {}
        self.unacknowledged: dict[Address, bool] = {}  # with whether their commits are stored all the same
        self.away: OperationalError | None = None
        self._delayed_until: list[float] = []
        self._now = now

    @property
    def delaying(self) -> bool:
        """Commits wait at present."""
        return any(until > self._now() for until in self._delayed_until)

    @property
    def holding(self) -> bool:
        """The stores don't get on with what actors wait for."""
        return self.delaying or self.away is not None

    @contextlib.contextmanager
    def fail_commit(self, target: object, error: Exception | None = None) -> Iterator[None]:
        """The database refuses this actor's commits: the caller gets `InternalError`, and nothing is kept."""
        address = _persistent(target)
        self.failing[address] = error or DatabaseError("The test makes this commit fail.")
        try:
            yield
        finally:
            self.failing.pop(address, None)

    @contextlib.contextmanager
    def lose_acknowledgement(self, target: object, *, stored: bool = True) -> Iterator[None]:
        """The connection breaks during this actor's commits: the caller gets `OutcomeUnknown`.

        Memory goes on from what is stored: the turn's changes, or without `stored` what was there before.
        """
        address = _persistent(target)
        self.unacknowledged[address] = stored
        try:
            yield
        finally:
            self.unacknowledged.pop(address, None)

    @contextlib.contextmanager
    def delay_commits(self, seconds: float | None = None) -> Iterator[None]:
        """Commits wait, as for a row that somebody has locked: until the block ends, or `seconds` of the node's clock.

        Turns run on meanwhile; their answers wait. Turns of `def` messages commit by themselves and are not delayed.
        """
        until = float("inf") if seconds is None else self._now() + seconds
        self._delayed_until.append(until)
        try:
            yield
        finally:
            self._delayed_until.remove(until)

    @contextlib.contextmanager
    def database_away(self) -> Iterator[None]:
        """No store reaches its database; each tries again until callers' deadlines. The test itself still does."""
        before, self.away = self.away, OperationalError("The test keeps the database away.")
        try:
            yield
        finally:
            self.away = before


def _persistent(target: object) -> Address:
    address = address_of(target)
    schema = registry.by_name(address.actor)
    if schema is None or not schema.persistent:
        raise ValueError(f"{address} lives in memory only. It has no commits that could go wrong.")
    return address
