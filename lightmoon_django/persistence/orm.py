"""The store for any database that Django knows: nothing but what all of them can do.

A group is one transaction: the rows are selected and locked (skipping those that others hold), compared with what this
node knows of them, and updated. Engines that show outside writes more cheaply override `_judge`.
"""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.conf import Settings
from lightmoon_django.persistence import barrier as barriers
from lightmoon_django.persistence.claims import claim, whereabouts
from lightmoon_django.persistence.columns import ModelColumns
from lightmoon_django.persistence.grouping import Grouping
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.ownconnection import own_connection
from lightmoon_django.persistence.recordstore import RecordStore
from lightmoon_django.persistence.rows import Row, Rows
from lightmoon_django.persistence.settling import settle
from lightmoon_django.persistence.silence import hang_up
from lightmoon_django.persistence.store import (
    Barrier,
    Columns,
    CommitOutcome,
    Committed,
    Down,
    Load,
    Loaded,
    LoadOutcome,
    Locked,
    Lost,
    Missing,
    Write,
)
from lightmoon_django.persistence.table import Table
from lightmoon_django.persistence.trouble import CannotConnect, connect, is_lost

logger = logging.getLogger("lightmoon")

Judgements = list[CommitOutcome | None]


class OrmStore(RecordStore):
    """One database. `incarnation` tells under which id this node owns rows now."""

    pause_after_commit = 0.0  # seconds that the store's thread leaves the database to others between groups
    whole_lock = False  # whether one writer locks out all others

    def __init__(
        self, alias: str, incarnation: Callable[[], int], settings: Settings, *, exclusive: bool = True
    ) -> None:
        super().__init__(alias)
        self.incarnation = incarnation
        self.trusted: Callable[[], bool] = lambda: True  # whether that incarnation is alive for certain
        self.exclusive = exclusive  # the thread's connection is the store's alone
        self.nodes = Nodes(alias)
        self._settings = settings
        self._columns: dict[ActorSchema, ModelColumns] = {}
        self._tables: dict[ActorSchema, Table] = {}
        self._grouping = Grouping(whole_lock=self.whole_lock)
        self._raw: Any = None

    def columns(self, schema: ActorSchema) -> Columns:
        return self.model_columns(schema)

    def model_columns(self, schema: ActorSchema) -> ModelColumns:
        found = self._columns.get(schema)
        if found is None:
            found = ModelColumns(schema, connections[self.alias], self._settings.HARMLESS_RECEIVERS)
            self._columns[schema] = found
        return found

    def table(self, schema: ActorSchema) -> Table:
        found = self._tables.get(schema)
        if found is None:
            found = Table(schema, self.model_columns(schema), connections[self.alias])
            self._tables[schema] = found
        return found

    def load(self, loads: Sequence[Load]) -> list[LoadOutcome]:
        return self._grouping.run(loads, self._load_group)

    def commit(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        return self._grouping.run(writes, self._commit_group)

    def transact(self, barrier: Barrier) -> CommitOutcome:
        return barriers.transact(self, barrier)

    def disown(self, keys: Sequence[tuple[ActorSchema, str]]) -> None:
        grouped = defaultdict(list)
        for schema, key in keys:
            grouped[schema].append(key)
        try:
            self._connected()
            for schema, its_keys in grouped.items():
                self._release(self.table(schema), its_keys)
        except (CannotConnect, DatabaseError, InterfaceError):
            # Nothing depends on it: without it, whoever wants the rows waits until this node's lease has ended.
            logger.info("Rows could not be given back.", exc_info=True, extra={"action": "disown_failed"})

    def whereabouts(self, keys: Sequence[tuple[ActorSchema, str]]) -> dict[tuple[str, str], int]:
        grouped = defaultdict(list)
        for schema, key in keys:
            grouped[schema].append(key)
        found: dict[tuple[str, str], int] = {}
        with self._asking(writing=False):
            for schema, its_keys in grouped.items():
                owners = whereabouts(self, self.nodes, self.table(schema), its_keys)
                found.update(((schema.name, key), owner) for key, owner in owners.items())
        return found

    def share(self, incarnation: int) -> None:
        """That incarnation, which had all actors in memory only, has claimed its own: others may claim theirs."""
        with self._asking():
            self.nodes.share(incarnation)

    def close(self) -> None:
        if self.exclusive:
            connections[self.alias].close()

    def hang_up(self) -> None:
        """From any thread: break the connection, whose server has gone silent. What waits for it ends as lost."""
        hang_up(self._raw)

    # What a barrier asks, in its worker's thread.

    def barrier_version(self, connection: BaseDatabaseWrapper, table: Table, key: str) -> Any:
        return None

    def bound_waits(self, connection: BaseDatabaseWrapper, seconds: float) -> None:
        pass

    def unbound_waits(self, connection: BaseDatabaseWrapper) -> None:
        pass

    def transaction_id(self, connection: BaseDatabaseWrapper) -> str | None:
        return None

    def settled(self, transaction_id: str) -> bool | None:
        return None

    # What follows runs in the store's thread.

    def _connected(self) -> BaseDatabaseWrapper:
        """This thread's connection, open and set up. Raises `CannotConnect`."""
        connection = own_connection(self.alias) if self.exclusive else connections[self.alias]
        connect(connection)
        if connection.connection is not self._raw:
            self._set_up(connection)
            self._raw = connection.connection
        return connection

    def _set_up(self, connection: BaseDatabaseWrapper) -> None:
        """A new connection is there."""

    def _load_group(self, loads: Sequence[Load]) -> list[LoadOutcome]:
        try:
            connection = self._connected()
        except CannotConnect as error:
            return [Down(error.error)] * len(loads)
        used, me = connection.connection, self.incarnation()
        grouped = defaultdict(list)
        for one in loads:
            grouped[one.schema].append(one.key)
        found: dict[tuple[ActorSchema, str], LoadOutcome] = {}
        try:
            for schema, keys in grouped.items():
                for key, outcome in self._claim(self.table(schema), keys).items():
                    found[schema, key] = outcome
        except CannotConnect as error:
            return [Down(error.error)] * len(loads)
        except Exception as error:
            if is_lost(error, connection, used):
                self._drop(connection)
                return [Down(error)] * len(loads)
            raise
        if not self._is_still(me):
            found = {which: Locked() if type(one) is Loaded else one for which, one in found.items()}
        return [found[one.schema, one.key] for one in loads]

    def _is_still(self, incarnation: int) -> bool:
        """Whether what that incarnation has taken is this node's now. Another may have it where its lease has ended."""
        return self.trusted() and self.incarnation() == incarnation  # in this order: a new one is trusted last

    def _claim(self, table: Table, keys: Sequence[str]) -> dict[str, LoadOutcome]:
        me = self.incarnation()
        # Nothing would show later that a place was taken as a node that is gone.
        if table.transient and (not self.trusted() or self.nodes.alone_beside(me)):
            return {key: Locked() for key in keys}
        return claim(self, self.nodes, table, keys, me)

    def _commit_group(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        try:
            connection = self._connected()
        except CannotConnect as error:
            return [Down(error.error)] * len(writes)
        used = connection.connection
        try:
            return self.store_group(writes)
        except CannotConnect as error:
            return [Down(error.error)] * len(writes)
        except Exception as error:
            if not is_lost(error, connection, used):
                raise
            self._drop(connection)
            return settle(self, writes, error)

    def _drop(self, connection: BaseDatabaseWrapper) -> None:
        if not connection.in_atomic_block:
            with contextlib.suppress(DatabaseError, InterfaceError):
                connection.close()
            connection.connection = None

    def store_group(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        """Store a group in one transaction, or raise and store nothing."""
        connection = self._connected()
        writing = any(write.locks for write in writes)
        with self._transaction(connection, writing=writing):
            outcomes = self._judge(connection, writes)
            good = [write for write, outcome in zip(writes, outcomes, strict=True) if outcome is None]
            self._write(connection, [write for write in good if write.changes])
            self.keep(connection, good)
            fresh = self._regenerated(connection, good)
        stored = Committed(self.version())
        if fresh:
            made = {write: Committed(stored.version, snapshot) for write, snapshot in fresh.items()}
            return [outcome or made.get(write, stored) for write, outcome in zip(writes, outcomes, strict=True)]
        return [outcome or stored for outcome in outcomes]

    def reconnect(self) -> None:
        self._connected()

    def look(self, schema: ActorSchema, key: str) -> Row | None:
        return Rows(self._connected(), self.table(schema)).read([key], lock=False).get(key)

    def version(self) -> Any:
        """What to compare later. None: the row's values."""
        return None

    @contextlib.contextmanager
    def _transaction(self, connection: BaseDatabaseWrapper, *, writing: bool = True) -> Iterator[None]:
        with transaction.atomic(using=self.alias):
            yield

    def _judge(self, connection: BaseDatabaseWrapper, writes: Sequence[Write]) -> Judgements:
        """Look at the rows and lock them. None where the write may go ahead."""
        grouped = defaultdict(list)
        for write in writes:
            grouped[write.schema].append(write)
        found: dict[Write, CommitOutcome | None] = {}
        for schema, its_writes in grouped.items():
            found.update(self._judge_table(connection, self.table(schema), its_writes))
        return [found[write] for write in writes]

    def _judge_table(
        self, connection: BaseDatabaseWrapper, table: Table, writes: Sequence[Write]
    ) -> dict[Write, CommitOutcome | None]:
        rows = Rows(connection, table)
        lock = any(write.locks for write in writes)
        stored = rows.read([write.key for write in writes], lock=lock)
        me = self.incarnation()
        found: dict[Write, CommitOutcome | None] = {}
        for write in writes:
            row = stored.get(write.key)
            if row is None:
                found[write] = rows.why_absent(write.key) if lock else Missing()
            else:
                found[write] = None if row.owner == me and table.same(row.snapshot, write.base) else Lost()
        return found

    def _write(self, connection: BaseDatabaseWrapper, writes: Sequence[Write]) -> None:
        """Update rows that were judged good: one statement per set of columns, many rows each."""
        grouped: dict[tuple[ActorSchema, tuple[int, ...]], list[Write]] = defaultdict(list)
        for write in writes:
            grouped[write.schema, tuple(write.changes)].append(write)
        for (schema, positions), its_writes in grouped.items():
            self._update(connection, schema, positions, its_writes)
        if connection.savepoint_ids and writes:  # inside a test's transaction, whose end checks them too late
            tables = {write.schema.cls._meta.db_table for write in writes}  # type: ignore[attr-defined]
            connection.check_constraints(table_names=sorted(tables))

    def _update(
        self, connection: BaseDatabaseWrapper, schema: ActorSchema, positions: tuple[int, ...], writes: Sequence[Write]
    ) -> None:
        """Update rows of one class in the same columns. Raises `Surprise` if one of them isn't this node's."""
        Rows(connection, self.table(schema)).update(positions, writes, self.incarnation())

    def _regenerated(self, connection: BaseDatabaseWrapper, writes: Sequence[Write]) -> dict[Write, Any]:
        """What the database made of written rows that have generated columns."""
        found: dict[Write, Any] = {}
        if not any(self.table(schema).columns.generated for schema in {write.schema for write in writes}):
            return found
        for write in writes:
            table = self.table(write.schema)
            if write.changes and table.columns.generated:
                row = Rows(connection, table).read([write.key], lock=False).get(write.key)
                if row is not None:
                    found[write] = row.snapshot
        return found

    # The statements of a claim (see `claims`).

    def take(self, table: Table, keys: Sequence[str], owners: Collection[int]) -> dict[str, Loaded]:
        connection, me = self._connected(), self.incarnation()
        with self._transaction(connection):
            rows = Rows(connection, table)
            stored = rows.read(keys, lock=True)
            free = {key: row for key, row in stored.items() if row.owner is None or row.owner in owners}
            rows.own([key for key, row in free.items() if row.owner != me], me)
            claimed_at = self._now()
        version = self.version()
        return {key: Loaded(row.snapshot, version, claimed_at) for key, row in free.items()}

    def owners(self, table: Table, keys: Sequence[str]) -> dict[str, int | None]:
        return {key: row.owner for key, row in Rows(self._connected(), table).read(keys, lock=False).items()}

    def create(self, table: Table, keys: Sequence[str]) -> None:
        connection = self._connected()
        with transaction.atomic(using=self.alias):
            Rows(connection, table).insert(keys, self.alias)

    def _release(self, table: Table, keys: Sequence[str]) -> None:
        connection = self._connected()
        with self._transaction(connection):
            Rows(connection, table).disown(keys, self.incarnation())

    def _now(self) -> int:
        return self.nodes.now()
