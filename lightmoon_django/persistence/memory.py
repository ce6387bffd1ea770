"""The store of actors that live in memory only: nothing survives, nothing is lost to others, everything is at hand."""

from __future__ import annotations

import copy
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence.columns import Read, reader
from lightmoon_django.persistence.memoryrecords import MemoryRecords
from lightmoon_django.persistence.records import Answer, Due, Find, StaleReminder
from lightmoon_django.persistence.store import (
    Barrier,
    Columns,
    CommitOutcome,
    Committed,
    Down,
    Failed,
    Load,
    Loaded,
    LoadOutcome,
    Lost,
    Missing,
    OwnedElsewhere,
    Snapshot,
    UnitOfWork,
    Write,
)
from lightmoon_django.persistence.wallclock import system_clock

_SCALARS = frozenset({type(None), bool, int, float, complex, str, bytes, type, frozenset})


class MemoryColumns:
    """The annotated attributes of a plain class. Defaults are its class attributes; None where it has none."""

    barrier: str | None = None
    related = False

    def __init__(self, schema: ActorSchema) -> None:
        self.cls = schema.cls
        self.names = schema.fields
        self._read: Read = reader(self.names)

    def adopt_related(self, instance: Any) -> None:
        pass

    def forget_related(self, instance: Any) -> None:
        pass

    def defaults(self) -> Snapshot:
        return tuple(_copied(getattr(self.cls, name, None)) for name in self.names)

    def make(self, snapshot: Snapshot, key: str) -> Any:
        instance = self.cls()
        instance.key = key
        self.restore(instance, snapshot)
        return instance

    def snapshot(self, instance: Any) -> Snapshot:
        try:
            found = self._read(instance.__dict__)
        except (KeyError, AttributeError):  # slots, properties, or an attribute that was deleted
            found = tuple(getattr(instance, name, None) for name in self.names)
        return tuple([value if type(value) in _SCALARS else _copied(value) for value in found])

    def value(self, snapshot: Snapshot, position: int) -> Any:
        return snapshot[position]

    def restore(self, instance: Any, snapshot: Snapshot) -> None:
        for name, value in zip(self.names, snapshot, strict=True):
            setattr(instance, name, _copied(value))

    def regenerate(self, instance: Any, snapshot: Snapshot) -> None:
        pass

    def changes(self, before: Snapshot, after: Snapshot, instance: Any) -> tuple[Snapshot, dict[int, Any]]:
        return after, {i: value for i, value in enumerate(after) if not (before[i] is value or before[i] == value)}


def _copied(value: Any) -> Any:
    return value if type(value) in _SCALARS else copy.deepcopy(value)


@dataclasses.dataclass(slots=True)
class _Row:
    snapshot: Snapshot
    owner: int | None = None
    version: int = 0


class Memory:
    """Rows that several stores share, as several nodes share a database. Safe to use from any thread."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], _Row] = {}
        self.dead: set[int] = set()
        self.records = MemoryRecords()
        self.lock = threading.RLock()


class MemoryStore:
    """One node's view of a `Memory`. Alone with a memory of its own it never refuses anything."""

    pause_after_commit = 0.0

    def __init__(
        self,
        incarnation: Callable[[], int] = lambda: 1,
        memory: Memory | None = None,
        columns: Callable[[ActorSchema], Columns] = MemoryColumns,
    ) -> None:
        self.incarnation = incarnation
        self.memory = memory or Memory()
        self.wall_clock: Callable[[], int] = system_clock
        self._make_columns = columns
        self._columns: dict[ActorSchema, Columns] = {}

    def columns(self, schema: ActorSchema) -> Columns:
        found = self._columns.get(schema)
        if found is None:
            found = self._columns[schema] = self._make_columns(schema)
        return found

    def load(self, loads: Sequence[Load]) -> list[LoadOutcome]:
        with self.memory.lock:
            return [self._load(one) for one in loads]

    def commit(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        with self.memory.lock:
            return [self._commit(write) for write in writes]

    def transact(self, barrier: Barrier) -> CommitOutcome:
        unit = barrier.run()
        with self.memory.lock:
            records = list(unit.records)
            write = Write(barrier.schema, barrier.key, barrier.version, barrier.base, unit.changes, True, records)
            found = self._judged(write)
            if not isinstance(found, _Row):
                return found
            if not barrier.begin_commit():
                return Lost()
            outcome = self._store(barrier, unit, found)
            self._keep(write)
            return outcome

    def disown(self, keys: Sequence[tuple[ActorSchema, str]]) -> None:
        with self.memory.lock:
            for schema, key in keys:
                row = self.memory.rows.get((schema.name, key))
                if row is not None and row.owner == self.incarnation():
                    self._forget_or_free(schema, key, row)

    def whereabouts(self, keys: Sequence[tuple[ActorSchema, str]]) -> dict[tuple[str, str], int]:
        with self.memory.lock:
            rows = {(schema.name, key): self.memory.rows.get((schema.name, key)) for schema, key in keys}
            owners = {address: row.owner for address, row in rows.items() if row is not None}
            return {one: owner for one, owner in owners.items() if owner is not None and owner not in self.memory.dead}

    def share(self, incarnation: int) -> None:
        pass

    def find(self, finds: Sequence[Find]) -> list[Answer | Down | None]:
        with self.memory.lock:
            now = self.wall_clock()
            return [self.memory.records.answer(one.id, now) for one in finds]

    def due(self, now: int, until: int, limit: int) -> list[Due]:
        with self.memory.lock:
            return self.memory.records.due(now, until, limit)

    def next_due(self) -> int | None:
        with self.memory.lock:
            return self.memory.records.next_due()

    def postpone(self, due: Due, wake_at: int, error: str, *, counts: bool = True) -> None:
        with self.memory.lock:
            self.memory.records.postpone(due, wake_at, error, counts)

    def delivered(self, ids: Sequence[bytes]) -> None:
        with self.memory.lock:
            self.memory.records.delivered(ids)

    def bury(self, due: Due, error: str, then: int | None) -> None:
        with self.memory.lock:
            self.memory.records.bury(due, error, then, self.wall_clock())

    def paused(self) -> set[tuple[str, str]]:
        with self.memory.lock:
            return set(self.memory.records.paused)

    def clean(self, now: int, limit: int) -> int:
        with self.memory.lock:
            return self.memory.records.clean(now, limit)

    def close(self) -> None:
        pass

    def outside_write(self, schema: ActorSchema, key: str, snapshot: Snapshot | None) -> None:
        """What code that knows nothing of actors does to a row: write it, or (None) delete it."""
        with self.memory.lock:
            if snapshot is None:
                self.memory.rows.pop((schema.name, key), None)
                return
            row = self.memory.rows.setdefault((schema.name, key), _Row(snapshot))
            row.snapshot, row.owner, row.version = snapshot, None, row.version + 1

    def _forget_or_free(self, schema: ActorSchema, key: str, row: _Row) -> None:
        if schema.persistent:
            row.owner = None
        else:
            del self.memory.rows[schema.name, key]

    def _load(self, load: Load) -> LoadOutcome:
        row = self.memory.rows.get((load.schema.name, load.key))
        if row is None:
            if not load.schema.create:
                return Missing()
            row = self.memory.rows[load.schema.name, load.key] = _Row(self._defaults(load))
        me = self.incarnation()
        if row.owner not in (None, me) and row.owner not in self.memory.dead:
            return OwnedElsewhere(f"incarnation {row.owner}", row.owner or 0)
        row.owner = me
        row.version += 1
        return Loaded(row.snapshot, row.version, time.time_ns() // 1000)

    def _defaults(self, load: Load) -> Snapshot:
        columns = self.columns(load.schema)
        if isinstance(columns, MemoryColumns):
            return columns.defaults()
        field = load.schema.cls._meta.pk  # type: ignore[attr-defined]
        return columns.snapshot(load.schema.cls(**{field.attname: field.to_python(load.key)}))

    def _judged(self, write: Write) -> _Row | Lost | Missing | Failed:
        row = self.memory.rows.get((write.schema.name, write.key))
        if row is None:
            return Missing()
        if row.owner != self.incarnation() or row.version != write.version:
            return Lost()
        stale = self.memory.records.is_stale(write.schema.name, write.key, write.records)
        return Failed(StaleReminder()) if stale else row

    def _commit(self, write: Write) -> CommitOutcome:
        row = self._judged(write)
        if not isinstance(row, _Row):
            return row
        if write.changes:
            self._apply(row, write.changes)
        self._keep(write)
        return Committed(row.version)

    def _keep(self, write: Write) -> None:
        self.memory.records.keep(write.schema.name, write.key, write.records, self.wall_clock())

    def _store(self, barrier: Barrier, unit: UnitOfWork, row: _Row) -> CommitOutcome:
        if any(one is unit.instance for one in unit.deletes):
            del self.memory.rows[barrier.schema.name, barrier.key]
            return Committed(None)
        self._apply(row, unit.changes)
        return Committed(row.version, row.snapshot)

    def _apply(self, row: _Row, changes: dict[int, Any]) -> None:
        row.snapshot = tuple(changes.get(i, value) for i, value in enumerate(row.snapshot))
        row.version += 1
