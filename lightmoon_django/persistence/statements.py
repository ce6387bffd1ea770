"""The statements of the PostgreSQL store for one actor class, each about many rows at once.

Every one takes its rows in key order `FOR NO KEY UPDATE SKIP LOCKED` before it writes: nothing waits, and nothing
deadlocks. A write compares the owner and the row's `xmin`, which moves with any write by anybody, and survives
freezing and row locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.persistence import values
from lightmoon_django.persistence.arrays import array, element_type, integers
from lightmoon_django.persistence.store import Write
from lightmoon_django.persistence.table import Table

Statement = tuple[str, list[Any]]

_CLOCK = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"
_PLAIN_KEYS = frozenset({"smallint", "integer", "bigint", "uuid"})  # their text form needs no quotes


class Statements:
    """SQL with parameters for one table. The texts are made once, so that the server prepares them once."""

    def __init__(self, table: Table, connection: BaseDatabaseWrapper) -> None:
        self.table = table
        self._key_type = element_type(table.pk_field.db_type(connection)) or "text"
        self._elements = [_element(field, connection) for field in table.fields]
        self._casts = ["::jsonb" if field.db_type(connection) == "jsonb" else "" for field in table.fields]
        self._updates: dict[tuple[int, ...], str] = {}
        self._columns = ", ".join(f"t.{name}" for name in table.names)
        self._generated = "".join(f", t.{name}" for name in table.names) if table.columns.generated else ""
        self._key = f"unnest(%s::{self._key_type}[]) AS u(pk)"
        self._key_and_version = f"unnest(%s::{self._key_type}[], %s::xid[]) WITH ORDINALITY AS u(pk, ver, n)"
        self._row = f"JOIN {table.name} t ON t.{table.pk} = u.pk"

    def carries(self, positions: Sequence[int]) -> bool:
        """Whether `unnest` can carry all these columns."""
        return all(self._elements[i] is not None for i in positions)

    def take(self, keys: Sequence[str], owner: int, owners: Sequence[int]) -> Statement:
        """Returns `xmin`, the clock, and all columns of the rows that are now `owner`'s."""
        table = self.table
        free = f"(t.{table.owner} IS NULL OR t.{table.owner} = ANY(%s::bigint[]))"
        sql = (
            f"WITH v AS MATERIALIZED (SELECT t.{table.pk} AS pk FROM {self._key} {self._row} "
            f"WHERE {free} ORDER BY t.{table.pk} FOR NO KEY UPDATE OF t SKIP LOCKED) "
            f"UPDATE {table.name} t SET {table.owner} = %s::bigint FROM v WHERE t.{table.pk} = v.pk AND {free} "
            f"RETURNING t.xmin::text, {_CLOCK}, {self._columns}"
        )
        allowed = integers(owners)
        return sql, [self._keys(keys), allowed, owner, allowed]

    def owners(self, keys: Sequence[str]) -> Statement:
        """Returns key and owner of the rows that exist."""
        table = self.table
        sql = f"SELECT t.{table.pk}, t.{table.owner} FROM {self._key} {self._row}"
        return sql, [self._keys(keys)]

    def release(self, keys: Sequence[str], owner: int) -> Statement:
        """Gives back those that are still this owner's."""
        table = self.table
        give = f"UPDATE {table.name} t SET {table.owner} = NULL FROM v"
        if table.transient:
            give = f"DELETE FROM {table.name} t USING v"
        sql = (
            f"WITH v AS MATERIALIZED (SELECT t.{table.pk} AS pk FROM {self._key} {self._row} "
            f"WHERE t.{table.owner} = %s::bigint ORDER BY t.{table.pk} FOR NO KEY UPDATE OF t SKIP LOCKED) "
            f"{give} WHERE t.{table.pk} = v.pk AND t.{table.owner} = %s::bigint"
        )
        return sql, [self._keys(keys), owner, owner]

    def update(self, positions: tuple[int, ...], writes: Sequence[Write], owner: int) -> Statement:
        """Returns the number (from 1) and the new `xmin` of each write that was stored, and its generated columns."""
        parameters: list[Any] = [*self._known(writes)]
        parameters += [array([write.changes[i] for write in writes]) for i in positions]
        parameters.append(owner)
        sql = self._updates.get(positions)
        if sql is None:
            sql = self._updates[positions] = self._update(positions)
        return sql, parameters

    def lock(self, writes: Sequence[Write], owner: int) -> Statement:
        """Returns number and `xmin` of the writes whose rows are as known, and locks them."""
        return self._look(writes, owner, f" ORDER BY t.{self.table.pk} FOR NO KEY UPDATE OF t SKIP LOCKED")

    def verify(self, writes: Sequence[Write], owner: int) -> Statement:
        """The same without a lock."""
        return self._look(writes, owner, "")

    def judge(self, writes: Sequence[Write], owner: int) -> Statement:
        """Returns the number of each write whose row exists, and whether it is as known."""
        table = self.table
        known = f"t.{table.owner} IS NOT DISTINCT FROM %s::bigint AND t.xmin = u.ver"
        return f"SELECT u.n, {known} FROM {self._key_and_version} {self._row}", [owner, *self._known(writes)]

    def single(self, positions: tuple[int, ...], write: Write, owner: int) -> Statement:
        """One row, for columns that `unnest` can't carry. Returns the new `xmin`."""
        table = self.table
        sql = f"{table.update(positions)} AND xmin = %s::xid RETURNING xmin::text{self._generated.replace('t.', '')}"
        return sql, [*(write.changes[i] for i in positions), table.pk_value(write.key), owner, write.version]

    def _update(self, positions: tuple[int, ...]) -> str:
        table = self.table
        arrays = "".join(f", %s::{self._elements[i]}[]" for i in positions)
        names = "".join(f", c{i}" for i in positions)
        assigned = ", ".join(f"{table.names[i]} = v.c{i}{self._casts[i]}" for i in positions)
        return (
            f"WITH v AS MATERIALIZED (SELECT u.* FROM unnest(%s::{self._key_type}[], %s::xid[]{arrays}) "
            f"WITH ORDINALITY AS u(pk, ver{names}, n) {self._row} "
            f"ORDER BY t.{table.pk} FOR NO KEY UPDATE OF t SKIP LOCKED) "
            f"UPDATE {table.name} t SET {assigned} FROM v "
            f"WHERE t.{table.pk} = v.pk AND t.{table.owner} = %s::bigint AND t.xmin = v.ver "
            f"RETURNING v.n, t.xmin::text{self._generated}"
        )

    def _look(self, writes: Sequence[Write], owner: int, lock: str) -> Statement:
        table = self.table
        sql = (
            f"SELECT u.n, t.xmin::text FROM {self._key_and_version} {self._row} "
            f"WHERE t.{table.owner} = %s::bigint AND t.xmin = u.ver{lock}"
        )
        return sql, [*self._known(writes), owner]

    def _known(self, writes: Sequence[Write]) -> tuple[str, str]:
        return self._keys([write.key for write in writes]), integers([write.version for write in writes])

    def _keys(self, keys: Sequence[str]) -> str:
        return integers(keys) if self._key_type in _PLAIN_KEYS else array(map(self.table.pk_value, keys))


def _element(field: values.AnyField, connection: BaseDatabaseWrapper) -> str | None:
    kind = values.root(field)
    if hasattr(kind, "get_placeholder"):
        return None
    return element_type(field.db_type(connection))
