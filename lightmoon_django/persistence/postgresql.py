"""The store on PostgreSQL: a group is one statement, and one round trip, wherever it can be."""

from __future__ import annotations

import contextlib
import functools
import select
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import psycopg
from django.db import DatabaseError, NotSupportedError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence.arrayrecorder import ArrayRecorder
from lightmoon_django.persistence.arrays import NoLiteral
from lightmoon_django.persistence.orm import OrmStore
from lightmoon_django.persistence.ownconnection import one_more_connection
from lightmoon_django.persistence.postgresgroup import Group
from lightmoon_django.persistence.recorder import Recorder
from lightmoon_django.persistence.rows import Row
from lightmoon_django.persistence.settling import PATIENCE, PAUSE
from lightmoon_django.persistence.silence import at_most
from lightmoon_django.persistence.statements import Statement, Statements
from lightmoon_django.persistence.store import CommitOutcome, Loaded, Write
from lightmoon_django.persistence.table import Table
from lightmoon_django.persistence.trouble import CannotConnect

LOCK_TIMEOUT = 100  # milliseconds; bounds the only waits left, for unique and foreign keys of others' transactions
GRACE = 500  # milliseconds past its deadline that a turn has before its statement or its session is ended
NEVER = 2**31 - 1  # executions before the driver prepares a statement that doesn't ask for it

_SESSION = (
    f"SET lock_timeout = {LOCK_TIMEOUT}",
    "SET default_transaction_isolation = 'read committed'",
    # The store only ever looks rows up by key; a plan made while a table was small must not scan it when it has grown.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
    "SET plan_cache_mode = force_generic_plan",
)


class PostgresStore(OrmStore):
    """One PostgreSQL database. A row's `version` is its `xmin`, as text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare = True
        self._renewed = False  # the connection is new because statements on the last one were outdated
        self._statements: dict[Table, Statements] = {}

    def _set_up(self, connection: BaseDatabaseWrapper) -> None:
        # A pooler that deals out connections by transaction keeps neither settings nor prepared statements; this is
        # the setting by which Django is told of one.
        pooled = bool(connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))
        self._prepare = self.exclusive and not pooled
        if self._prepare:
            connection.connection.prepare_threshold = NEVER
            # A node that stands still between two statements, or is cut off, must not keep its rows from others for
            # longer than its lease.
            still = f"SET idle_in_transaction_session_timeout = {max(1, round(self._settings.LEASE_SECONDS * 1000))}"
            with connection.cursor() as cursor:
                cursor.execute("; ".join((*_SESSION, still)))

    def _connected(self) -> BaseDatabaseWrapper:
        connection = connections[self.alias]
        if connection.connection is not None and not connection.in_atomic_block and _has_ended(connection.connection):
            self._drop(connection)
        return super()._connected()

    def commit(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        if not any(self.table(write.schema).inherited for write in writes):
            return super().commit(writes)
        return _parted(writes, lambda write: self.table(write.schema).inherited, super().commit)

    def statements(self, table: Table, connection: BaseDatabaseWrapper) -> Statements:
        found: Statements | None = self._statements.get(table)
        if found is None:
            found = self._statements[table] = Statements(table, connection)
        return found

    def recorder(self, connection: BaseDatabaseWrapper) -> Recorder:
        return ArrayRecorder(connection, functools.partial(self.execute, connection))

    def store_group(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        if self.table(writes[0].schema).inherited:
            return super().store_group(writes)
        connection = self._connected()
        try:
            return self._stored(connection, Group(self, connection, writes))
        except NoLiteral:
            return self._stored(connection, Group(self, connection, writes, singly=True))

    def _stored(self, connection: BaseDatabaseWrapper, group: Group) -> list[CommitOutcome]:
        if group.is_one_statement and not connection.in_atomic_block:
            group.run_at_once()
        else:
            with self._raw_transaction(connection):
                group.run()
        group.explain()
        return group.outcomes()

    def execute(self, connection: BaseDatabaseWrapper, statement: Statement) -> list[Any]:
        """All rows that a statement returns. Bound by the server, so that its plan is kept."""
        try:
            with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
                cursor.execute(*statement, prepare=self._prepare)
                self._renewed = False
                return cursor.fetchall() if cursor.description else []
        except NotSupportedError as error:
            if not self._prepare or self._renewed or connection.in_atomic_block:
                raise
            # A migration has changed a column's type: what was prepared for the old one can't be used any more.
            self._renewed = True
            self._drop(connection)
            raise CannotConnect(error) from error

    def take(self, table: Table, keys: Sequence[str], owners: Collection[int]) -> dict[str, Loaded]:
        if table.inherited:
            return super().take(table, keys, owners)
        connection = self._connected()
        statement = self.statements(table, connection).take(keys, self.incarnation(), sorted(owners))
        found: dict[str, Loaded] = {}
        with self._savepoint(connection):
            rows = self.execute(connection, statement)
        for version, claimed_at, *cells in rows:
            snapshot = table.decode(cells)
            found[table.key_of(snapshot)] = Loaded(snapshot, version, claimed_at)
        return found

    def owners(self, table: Table, keys: Sequence[str]) -> dict[str, int | None]:
        if table.inherited:
            return super().owners(table, keys)
        connection = self._connected()
        rows = self.execute(connection, self.statements(table, connection).owners(keys))
        return {table.key_from(pk): owner for pk, owner in rows}

    def look(self, schema: ActorSchema, key: str) -> Row | None:
        row = super().look(schema, key)
        table = self.table(schema)
        if row is None or table.inherited:
            return row
        return Row(row.owner, row.snapshot, _version(self._connected(), table, key))

    def barrier_version(self, connection: BaseDatabaseWrapper, table: Table, key: str) -> Any:
        return None if table.inherited else _version(connection, table, key)

    def bound_waits(self, connection: BaseDatabaseWrapper, seconds: float) -> None:
        # The last one ends the transaction of a turn that is past its deadline and doesn't come back.
        left = max(1, round(seconds * 1000))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {left + GRACE}; "
                f"SET LOCAL idle_in_transaction_session_timeout = {left + GRACE}"
            )

    def transaction_id(self, connection: BaseDatabaseWrapper) -> str | None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id_if_assigned()::text")
            found: str | None = cursor.fetchone()[0]
            return found

    def settled(self, transaction_id: str) -> bool | None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            status = self._status(transaction_id)
            if status in ("committed", "aborted"):
                return bool(status == "committed")
            time.sleep(PAUSE)
        return None

    def _status(self, transaction_id: str) -> str | None:
        connection = one_more_connection(self.alias)
        try:
            with at_most(connection, PATIENCE), connection.cursor() as cursor:
                cursor.execute("SELECT pg_xact_status(%s::xid8)", [transaction_id])
                found: str | None = cursor.fetchone()[0]
                return found
        except DatabaseError:
            return None
        finally:
            connection.close()

    def _release(self, table: Table, keys: Sequence[str]) -> None:
        if table.inherited:
            super()._release(table, keys)
            return
        connection = self._connected()
        with self._savepoint(connection):
            self.execute(connection, self.statements(table, connection).release(keys, self.incarnation()))

    @contextlib.contextmanager
    def _savepoint(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Nothing for a connection of one's own; a savepoint inside somebody's transaction, as a test's."""
        with transaction.atomic(using=self.alias) if connection.in_atomic_block else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def _raw_transaction(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Several statements that are stored together, with deferred constraints checked at their end."""
        if connection.in_atomic_block:
            with transaction.atomic(using=self.alias):
                yield
                connection.check_constraints()
            return
        self.execute(connection, ("BEGIN ISOLATION LEVEL READ COMMITTED", []))
        try:
            yield
            self.execute(connection, ("SET CONSTRAINTS ALL IMMEDIATE", []))
            self.execute(connection, ("COMMIT", []))
        except BaseException:
            with contextlib.suppress(Exception):
                connection.connection.rollback()
            raise


def _version(connection: BaseDatabaseWrapper, table: Table, key: str) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT xmin::text FROM {table.name} WHERE {table.pk} = %s", [table.pk_value(key)])
        found = cursor.fetchone()
        return None if found is None else str(found[0])


def _has_ended(raw: Any) -> bool:
    """Whether the server hung up while nothing was under way: known before sending, nothing is in doubt."""
    if raw.closed:
        return True
    try:
        # What can be read now is a notice, or the server's last words; the end itself comes with the next look.
        while select.select([raw.fileno()], [], [], 0)[0]:
            raw.pgconn.consume_input()
    except (OSError, ValueError, psycopg.Error):
        return True
    return False


def _parted(writes: Sequence[Write], apart: Any, commit: Any) -> list[CommitOutcome]:
    """Commit two kinds of writes in transactions of their own; the outcomes in order."""
    outcomes: dict[int, CommitOutcome] = {}
    for side in (True, False):
        part = [write for write in writes if apart(write) is side]
        if part:
            outcomes.update(zip(map(id, part), commit(part), strict=True))
    return [outcomes[id(write)] for write in writes]
