"""The store on SQLite: one file, one writer, and no row locks.

`PRAGMA data_version` moves when any other connection has written the file. As long as it stands still, a row that
this store has seen is as it was, and a group is nothing but its UPDATEs. When it has moved, each row is compared with
what this node knows of it, once. Writes of the same connection don't move it; they show in `total_changes`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.models import Answer
from lightmoon_django.persistence.batch import ANSWER
from lightmoon_django.persistence.orm import Judgements, OrmStore
from lightmoon_django.persistence.recorder import Recorder
from lightmoon_django.persistence.rows import Surprise, quiet_cursor
from lightmoon_django.persistence.store import CommitOutcome, Write
from lightmoon_django.persistence.table import Table
from lightmoon_django.persistence.wallclock import system_clock

MOST_ROWS = 128  # of one UPDATE; powers of two below it make up any group, so that few statements are prepared
_CAN_UPDATE_FROM = sqlite3.sqlite_version_info >= (3, 33)
DRIVERS_OWN = 5.0  # seconds that Python's driver waits for the file's lock where a project sets nothing
BUSY = 100  # milliseconds that the store waits for the file's lock before its group counts as locked


class SqliteRecorder(Recorder):
    """Takes the place of an expired answer in the INSERT itself."""

    def _answer(self, rows: Sequence[tuple[Any, ...]], now: int) -> None:
        assigned = ", ".join(f"{name} = excluded.{name}" for name in ANSWER[1:])
        self._insert_many(
            "INSERT INTO",
            Answer,
            ANSWER,
            [(self._id(id), *cells) for id, *cells in rows],
            f"ON CONFLICT (id) DO UPDATE SET {assigned} WHERE lightmoon_answer.expires_at <= %s",
            now,
        )


class SqliteStore(OrmStore):
    """One SQLite file. A row's `version` is the generation of the file at which it was known to be as it was."""

    pause_after_commit = 0.0005  # seconds; without it, ordinary views starved for the write lock
    whole_lock = True

    _generation = 0
    _updates: dict[tuple[Table, tuple[int, ...], int], str]
    _seen: tuple[int, int] = (-1, -1)  # data_version and total_changes after the last look
    _blocks: Sequence[Any] = ()  # somebody's open transactions, as a test's, at the last write

    def _set_up(self, connection: BaseDatabaseWrapper) -> None:
        self._generation += 1
        self._seen = (-1, -1)
        self._updates = {}
        if self.exclusive:
            with quiet_cursor(connection) as cursor:
                cursor.execute("PRAGMA synchronous = FULL")
                cursor.execute(f"PRAGMA busy_timeout = {BUSY}")

    def bound_waits(self, connection: BaseDatabaseWrapper, seconds: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def unbound_waits(self, connection: BaseDatabaseWrapper) -> None:
        seconds = connection.get_connection_params().get("timeout", DRIVERS_OWN)
        with quiet_cursor(connection) as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def beat(self, heartbeat: Callable[[], bool]) -> bool:
        """Run this node's heartbeat on the store's own connection.

        From another one it would be an outside write, after which every actor's row is compared once.
        """
        with self._asking():
            return heartbeat()

    def recorder(self, connection: BaseDatabaseWrapper) -> Recorder:
        return SqliteRecorder(connection)

    def version(self) -> int:
        return self._generation

    @contextlib.contextmanager
    def _transaction(self, connection: BaseDatabaseWrapper, *, writing: bool = True) -> Iterator[None]:
        if connection.in_atomic_block:
            with super()._transaction(connection):
                self._watch(connection)
                yield
            self._remember(connection)
            return
        with connection.wrap_database_errors:
            execute = connection.connection.execute
            execute("BEGIN IMMEDIATE" if writing else "BEGIN")
            try:
                self._watch(connection)
                yield
                execute("COMMIT")
            except BaseException:
                with contextlib.suppress(Exception):
                    connection.connection.rollback()
                raise
            finally:
                self._remember(connection)

    def _watch(self, connection: BaseDatabaseWrapper) -> None:
        """Notice writes of others. The read lock or write lock is held, so that nothing can slip in behind the look."""
        with connection.wrap_database_errors:
            raw = connection.connection
            seen = (raw.execute("PRAGMA data_version").fetchone()[0], raw.total_changes)
        if seen != self._seen or self._left_blocks(connection):
            self._generation += 1
            self._seen = seen

    def _left_blocks(self, connection: BaseDatabaseWrapper) -> bool:
        """Whether a block has ended since the last write in it: that may be rolled back, which shows nowhere else."""
        if not self._blocks:
            return False
        now = connection.atomic_blocks[: len(self._blocks)]
        return len(now) < len(self._blocks) or any(a is not b for a, b in zip(now, self._blocks, strict=True))

    def _remember(self, connection: BaseDatabaseWrapper) -> None:
        """Own writes are no outside writes. The data version is kept as it was seen under the lock."""
        if connection.connection is not None:
            self._seen = (self._seen[0], connection.connection.total_changes)
            self._blocks = tuple(connection.atomic_blocks)

    def store_group(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        try:
            return super().store_group(writes)
        except Surprise:  # a row that this very connection gave away: look at all of them
            self._generation += 1
            return super().store_group(writes)

    def _judge(self, connection: BaseDatabaseWrapper, writes: Sequence[Write]) -> Judgements:
        # One that changes no column has no UPDATE of its own to show that the row is still this node's.
        generation = self._generation
        suspect = [write for write in writes if write.version != generation or (not write.changes and write.locks)]
        if not suspect:
            return [None] * len(writes)
        judged: dict[int, CommitOutcome | None] = dict(
            zip(map(id, suspect), super()._judge(connection, suspect), strict=True)
        )
        return [judged.get(id(write)) for write in writes]

    def _update(
        self, connection: BaseDatabaseWrapper, schema: ActorSchema, positions: tuple[int, ...], writes: Sequence[Write]
    ) -> None:
        """Many rows in one step: each step gives Python's interpreter lock away and has to get it back."""
        table = self.table(schema)
        if not _CAN_UPDATE_FROM or any(table.placeholder(i) != "%s" for i in positions):
            super()._update(connection, schema, positions, writes)
            return
        updated, done, me = 0, 0, self.incarnation()
        with connection.wrap_database_errors:
            while done < len(writes):
                count = min(MOST_ROWS, 1 << ((len(writes) - done).bit_length() - 1))
                parameters: list[Any] = []
                for write in writes[done : done + count]:
                    parameters.append(table.pk_value(write.key))
                    parameters += map(write.changes.__getitem__, positions)
                parameters.append(me)
                statement = self._update_many(table, positions, count)
                updated += connection.connection.execute(statement, parameters).rowcount
                done += count
        if updated != len(writes):
            raise Surprise(f"{updated} of {len(writes)} rows of {table.name} could be updated.")

    def _update_many(self, table: Table, positions: tuple[int, ...], count: int) -> str:
        """The driver's own SQL, kept: to translate Django's placeholders took as long as to run it."""
        found = self._updates.get((table, positions, count))
        if found is None:
            found = self._updates[table, positions, count] = _update_many(table, positions, count)
        return found

    def _now(self) -> int:
        return system_clock()


def _update_many(table: Table, positions: tuple[int, ...], count: int) -> str:
    assigned = ", ".join(f"{table.names[i]} = v.column{n}" for n, i in enumerate(positions, 2))
    row = f"({', '.join('?' * (len(positions) + 1))})"
    return (
        f"UPDATE {table.name} SET {assigned} FROM (VALUES {', '.join([row] * count)}) AS v "
        f"WHERE {table.name}.{table.pk} = v.column1 AND {table.name}.{table.owner} = ?"
    )
