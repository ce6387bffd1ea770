"""A store on which a test's faults act. Without any it is the store behind it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from django.db import OperationalError

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.identity import Address
from lightmoon_django.persistence.records import Answer, Find
from lightmoon_django.persistence.store import (
    Barrier,
    CommitOutcome,
    Committed,
    Down,
    Failed,
    Load,
    LoadOutcome,
    Locked,
    Store,
    Unsettled,
    Write,
)
from lightmoon_django.testing.faults import Faults

_FOR_MAINTENANCE = frozenset({"due", "next_due", "postpone", "delivered", "bury", "paused", "clean", "whereabouts"})


class FaultyStore:
    """Implements `persistence.store.Store`. What it doesn't define is the real store's."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return functools.partial(self._reach, found) if name in _FOR_MAINTENANCE else found

    def _reach(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._faults.away is not None:
            raise self._faults.away
        return method(*args, **kwargs)

    def load(self, loads: Sequence[Load]) -> list[LoadOutcome]:
        away = self._faults.away
        return [Down(away)] * len(loads) if away is not None else self._store.load(loads)

    def find(self, finds: Sequence[Find]) -> list[Answer | Down | None]:
        away = self._faults.away
        return [Down(away)] * len(finds) if away is not None else self._store.find(finds)

    def disown(self, keys: Sequence[tuple[ActorSchema, str]]) -> None:
        if self._faults.away is None:
            self._store.disown(keys)

    def commit(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        stopped = {id(write): outcome for write in writes if (outcome := self._stopped(write)) is not None}
        good = [write for write in writes if id(write) not in stopped]
        stored = iter(self._store.commit(good) if good else ())
        return [stopped[id(write)] if id(write) in stopped else self._heard(write, next(stored)) for write in writes]

    def transact(self, barrier: Barrier) -> CommitOutcome:
        address, faults = Address(barrier.schema.name, barrier.key), self._faults
        if faults.away is not None:
            return Down(faults.away)
        if address in faults.failing:
            return self._store.transact(_broken(barrier, faults.failing[address]))
        if address not in faults.unacknowledged:
            return self._store.transact(barrier)
        if faults.unacknowledged[address]:
            outcome = self._store.transact(barrier)
            return Unsettled(_silence()) if type(outcome) is Committed else outcome
        error = _silence()
        try:
            return self._store.transact(_broken(barrier, error))
        except OperationalError as found:
            if found is not error:
                raise
            return Unsettled(error)

    def _stopped(self, write: Write) -> CommitOutcome | None:
        """What becomes of a write that doesn't reach the real store; None for one that does."""
        address, faults = Address(write.schema.name, write.key), self._faults
        if faults.away is not None:
            return Down(faults.away)
        if not (write.changes or write.fence or write.records):
            return None  # only a look
        if address in faults.failing:
            return Failed(faults.failing[address])
        if faults.unacknowledged.get(address, True) is False:
            return Unsettled(_silence())
        return Locked() if faults.delaying else None

    def _heard(self, write: Write, outcome: CommitOutcome) -> CommitOutcome:
        """What the node hears of a write that has reached the real store."""
        look = not (write.changes or write.fence or write.records)
        if look or type(outcome) is not Committed:
            return outcome
        lost = Address(write.schema.name, write.key) in self._faults.unacknowledged
        return Unsettled(_silence()) if lost else outcome


def _broken(barrier: Barrier, error: Exception) -> Barrier:
    """The same turn, but its commit raises: everything that it did in its transaction is rolled back."""

    def fail() -> bool:
        raise error

    begin_commit: Callable[[], bool] = fail
    return dataclasses.replace(barrier, begin_commit=begin_commit)


def _silence() -> OperationalError:
    return OperationalError("The test loses the acknowledgement of this commit.")
