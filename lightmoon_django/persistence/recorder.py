"""Stores the records of writes, in the SQL that all engines share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.constants import OnConflict

from lightmoon_django.models import Answer, Outgoing, Reminder
from lightmoon_django.persistence.batch import (
    ANSWER,
    DELIVERY,
    OUTGOING,
    REMINDER,
    REMINDER_KEY,
    SCHEDULE,
    Batch,
    Row,
    all_met,
)
from lightmoon_django.persistence.rows import quiet_cursor

MOST_ROWS = 64  # of one INSERT: 14 columns of them stay below the 999 parameters that older SQLites take
CHUNK = 500  # ids in one statement; the strictest engine takes 1,000

T = TypeVar("T")


class Recorder:
    """One connection's tables of records. Nothing here begins or ends a transaction.

    Whoever stores a record of an actor has that actor's row locked, so no two change the same reminder at once.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._quote = connection.ops.quote_name

    def store(self, batch: Batch, now: int) -> None:
        """Store all of it, or raise. `StaleReminder` if a generation that was expected isn't there.

        An answer takes the place of an expired one under its id.
        """
        if batch.removals:
            self._remove(batch.removals)
        if batch.settings:
            self._set(batch.settings)
        if batch.moves:
            all_met(self._move(batch.moves), len(batch.moves))
        if batch.ends:
            all_met(self._end(batch.ends), len(batch.ends))
        if batch.answers:
            self._answer(list(batch.answers.values()), now)
        if batch.tells:
            self._send(list(batch.tells.values()))

    def find(self, ids: Sequence[bytes], now: int) -> list[Row]:
        """The stored answers that have not expired, as rows whose first column is the id's bytes."""
        found: list[Row] = []
        columns = ", ".join(map(self._quote, ANSWER))
        with quiet_cursor(self._connection) as cursor:
            for chunk in portions(ids, CHUNK):
                marks = ", ".join(["%s"] * len(chunk))
                cursor.execute(
                    f"SELECT {columns} FROM {self._table(Answer)} "
                    f"WHERE {self._quote('id')} IN ({marks}) AND {self._quote('expires_at')} > %s",
                    [*map(self._id, chunk), now],
                )
                found += [(_bytes(id), *cells) for id, *cells in cursor.fetchall()]
        return found

    # Reminders.

    def _remove(self, keys: Sequence[Row]) -> None:
        self._many(f"DELETE FROM {self._table(Reminder)} WHERE {self._equal(REMINDER_KEY)}", keys)

    def _set(self, rows: Sequence[Row]) -> None:
        self._remove([row[:3] for row in rows])
        self._insert(Reminder, REMINDER, rows, None)

    def _move(self, rows: Sequence[Row]) -> int:
        assigned = ", ".join(f"{self._quote(name)} = %s" for name in (*SCHEDULE, *DELIVERY))
        where = self._equal((*REMINDER_KEY, "generation"))
        return self._many(
            f"UPDATE {self._table(Reminder)} SET {assigned} WHERE {where}",
            [(*row[3:-1], *row[:3], row[-1]) for row in rows],
        )

    def _end(self, rows: Sequence[Row]) -> int:
        where = self._equal((*REMINDER_KEY, "generation"))
        return self._many(f"DELETE FROM {self._table(Reminder)} WHERE {where}", rows)

    # Answers and tells.

    def _answer(self, rows: Sequence[Row], now: int) -> None:
        with quiet_cursor(self._connection) as cursor:
            for chunk in portions(rows, CHUNK):
                marks = ", ".join(["%s"] * len(chunk))
                cursor.execute(
                    f"DELETE FROM {self._table(Answer)} "
                    f"WHERE {self._quote('id')} IN ({marks}) AND {self._quote('expires_at')} <= %s",
                    [*(self._id(row[0]) for row in chunk), now],
                )
        self._insert(Answer, ANSWER, [(self._id(id), *cells) for id, *cells in rows], OnConflict.IGNORE)

    def _send(self, rows: Sequence[Row]) -> None:
        self._insert(Outgoing, OUTGOING, [(self._id(id), *cells) for id, *cells in rows], OnConflict.IGNORE)

    # SQL.

    def _insert(
        self, model: type[Model], columns: Sequence[str], rows: Sequence[Row], on_conflict: OnConflict | None
    ) -> None:
        ops = self._connection.ops
        end = ops.on_conflict_suffix_sql([], on_conflict, [], [])
        self._insert_many(ops.insert_statement(on_conflict=on_conflict), model, columns, rows, end)

    def _insert_many(
        self, start: str, model: type[Model], columns: Sequence[str], rows: Sequence[Row], end: str, *more: Any
    ) -> None:
        """An INSERT of many rows each. `more` are the parameters of its end."""
        sql = f"{start} {self._table(model)} ({', '.join(map(self._quote, columns))}) VALUES"
        one = f"({', '.join(['%s'] * len(columns))})"
        with quiet_cursor(self._connection) as cursor:
            for some in binary_portions(rows):
                cells = [cell for row in some for cell in row]
                cursor.execute(f"{sql} {', '.join([one] * len(some))} {end}", [*cells, *more])

    def _many(self, sql: str, rows: Sequence[Row]) -> int:
        with quiet_cursor(self._connection) as cursor:
            cursor.executemany(sql, rows)
            found: int = cursor.rowcount
            return found

    def _table(self, model: type[Model]) -> str:
        return self._quote(model._meta.db_table)

    def _equal(self, names: Sequence[str]) -> str:
        return " AND ".join(f"{self._quote(name)} = %s" for name in names)

    def _id(self, id: bytes) -> Any:
        return UUID(bytes=id) if self._connection.features.has_native_uuid_field else id.hex()


def portions(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), most):
        yield items[start : start + most]


def binary_portions(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Portions whose sizes are powers of two, so that few different statements are prepared."""
    start = 0
    while (left := len(rows) - start) > 0:
        count = min(MOST_ROWS, 1 << (left.bit_length() - 1))
        yield rows[start : start + count]
        start += count


def _bytes(id: Any) -> bytes:
    return id.bytes if isinstance(id, UUID) else bytes.fromhex(id)
