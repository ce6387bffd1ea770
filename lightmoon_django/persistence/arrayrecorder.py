"""Stores the records of a group on PostgreSQL: one statement for each kind, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.persistence.arrays import array, integers
from lightmoon_django.persistence.batch import ANSWER, DELIVERY, OUTGOING, REMINDER, REMINDER_KEY, SCHEDULE, Batch, Row
from lightmoon_django.persistence.recorder import Recorder
from lightmoon_django.persistence.records import Answer, Outgoing
from lightmoon_django.persistence.statements import Statement

_TYPES = {
    "id": "uuid",
    "fingerprint": "bytea",
    "payload": "bytea",
    **dict.fromkeys(
        ("number", "generation", "expect", "due_at", "period", "wake_at", "attempts", "expires_at"), "bigint"
    ),
}  # the others are texts


def _names(columns: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f'{prefix}"{name}"' for name in columns)


def _unnest(columns: Sequence[str]) -> str:
    arrays = ", ".join(f"%s::{_TYPES.get(name, 'text')}[]" for name in columns)
    return f"unnest({arrays}) AS u({_names(columns)})"


def _insert(table: str, columns: Sequence[str], on_conflict: str) -> str:
    return f"INSERT INTO {table} AS t ({_names(columns)}) SELECT u.* FROM {_unnest(columns)} ON CONFLICT {on_conflict}"


def _insert_if_stored(table: str, columns: Sequence[str], on_conflict: str) -> str:
    """The records of those writes whose numbers `w` has.

    A join would be a nested loop, as the other kinds are switched off; what stands in IS TRUE is looked up in a hash.
    """
    return (
        f"INSERT INTO {table} AS t ({_names(columns)}) SELECT {_names(columns, 'u.')} "
        f"FROM {_unnest((*columns, 'number'))} WHERE (u.number IN (SELECT lightmoon_n FROM w)) IS TRUE "
        f"ON CONFLICT {on_conflict}"
    )


def _excluded(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}" = EXCLUDED."{name}"' for name in columns)


_CHANGED = (*SCHEDULE, *DELIVERY)
_SAME = " AND ".join(f't."{name}" = u."{name}"' for name in REMINDER_KEY)
_EXPECTED = f'{_SAME} AND t."generation" = u."expect"'
_ASSIGNED = ", ".join(f'"{name}" = u."{name}"' for name in _CHANGED)
_EXPECTING = (*REMINDER_KEY, "expect")
_MOVING = (*REMINDER, "expect")

_REMOVE = f"DELETE FROM lightmoon_reminder t USING {_unnest(REMINDER_KEY)} WHERE {_SAME}"
_SET = _insert("lightmoon_reminder", REMINDER, f"({_names(REMINDER_KEY)}) DO UPDATE SET {_excluded(_CHANGED)}")
_MOVE = f"UPDATE lightmoon_reminder t SET {_ASSIGNED} FROM {_unnest(_MOVING)} WHERE {_EXPECTED} RETURNING 1"
_END = f"DELETE FROM lightmoon_reminder t USING {_unnest(_EXPECTING)} WHERE {_EXPECTED} RETURNING 1"
_UNLESS_KEPT = f'("id") DO UPDATE SET {_excluded(ANSWER[1:])} WHERE t.expires_at <= %s'
_ANSWER = _insert("lightmoon_answer", ANSWER, _UNLESS_KEPT)
_ANSWER_IF_STORED = _insert_if_stored("lightmoon_answer", ANSWER, _UNLESS_KEPT)
_SEND = _insert("lightmoon_outgoing", OUTGOING, "DO NOTHING")
_SEND_IF_STORED = _insert_if_stored("lightmoon_outgoing", OUTGOING, "DO NOTHING")
_FIND = (
    f"SELECT {_names(ANSWER, 't.')} FROM {_unnest(('id',))} JOIN lightmoon_answer t USING (id) WHERE t.expires_at > %s"
)


def with_records(statement: Statement, records: Sequence[tuple[int, Answer | Outgoing]], now: int) -> Statement:
    """The same statement, which also keeps the records of those writes whose numbers are in its first column."""
    sql, parameters = statement
    batch = Batch(("", "", record) for _, record in records)
    numbers = {(type(record), record.id): number for number, record in reversed(records)}
    parts, cells = [f"w(lightmoon_n) AS MATERIALIZED ({sql})"], list(parameters)
    if batch.answers:
        parts.append(f"kept AS ({_ANSWER_IF_STORED})")
        cells += [*_columns_by_id([(*row, numbers[Answer, id]) for id, row in batch.answers.items()]), now]
    if batch.tells:
        parts.append(f"sent AS ({_SEND_IF_STORED})")
        cells += _columns_by_id([(*row, numbers[Outgoing, id]) for id, row in batch.tells.items()])
    return f"WITH {', '.join(parts)} SELECT * FROM w", cells


class ArrayRecorder(Recorder):
    """Sends its statements by `execute`, which keeps their plans."""

    def __init__(self, connection: BaseDatabaseWrapper, execute: Callable[[Statement], list[Any]]) -> None:
        super().__init__(connection)
        self._execute = execute

    def find(self, ids: Sequence[bytes], now: int) -> list[Row]:
        rows = self._execute((_FIND, [integers([id.hex() for id in dict.fromkeys(ids)]), now]))
        return [(id.bytes, *cells) for id, *cells in rows]

    def _remove(self, keys: Sequence[Row]) -> None:
        self._execute((_REMOVE, _columns(keys)))

    def _set(self, rows: Sequence[Row]) -> None:
        self._execute((_SET, _columns(rows)))

    def _move(self, rows: Sequence[Row]) -> int:
        return len(self._execute((_MOVE, _columns(rows))))

    def _end(self, rows: Sequence[Row]) -> int:
        return len(self._execute((_END, _columns(rows))))

    def _answer(self, rows: Sequence[Row], now: int) -> None:
        self._execute((_ANSWER, [*_columns_by_id(rows), now]))

    def _send(self, rows: Sequence[Row]) -> None:
        self._execute((_SEND, _columns_by_id(rows)))


def _columns(rows: Sequence[Row]) -> list[str]:
    return [array(column) for column in zip(*rows, strict=True)]


def _columns_by_id(rows: Sequence[Row]) -> list[str]:
    """Sorted, so that two transactions which share ids meet them in one order."""
    ids, *columns = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return [integers([id.hex() for id in ids]), *map(array, columns)]
