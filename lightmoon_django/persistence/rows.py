"""The statements about the rows of one actor class, in the SQL that all engines share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from lightmoon_django.persistence.store import CommitOutcome, Locked, Missing, Snapshot, Write
from lightmoon_django.persistence.table import Table

CHUNK = 500  # primary keys in one statement; the strictest engine takes 1,000


@dataclasses.dataclass(slots=True, frozen=True)
class Row:
    """A row as it is stored."""

    owner: int | None
    snapshot: Snapshot
    version: str | None = None


class Surprise(Exception):
    """A row that was judged good could not be updated. Nothing is stored."""


def quiet_cursor(connection: BaseDatabaseWrapper) -> Any:
    """A cursor that doesn't log its statements: under DEBUG each would be rendered with all its values."""
    with connection.wrap_database_errors:
        return connection.make_cursor(connection.create_cursor())


class Rows:
    """One table on one connection. Nothing here begins or ends a transaction."""

    def __init__(self, connection: BaseDatabaseWrapper, table: Table) -> None:
        self._connection = connection
        self._table = table

    def read(self, keys: Sequence[str], *, lock: bool, wait: bool = False) -> dict[str, Row]:
        """The rows by key. With `lock`, those that nobody else has locked, locked now; with `wait`, all of them."""
        found: dict[str, Row] = {}
        clause = self._lock_clause(wait) if lock else ""
        with quiet_cursor(self._connection) as cursor:
            for chunk in _chunks(keys):
                cursor.execute(self._table.select(len(chunk)) + clause, [self._table.pk_value(key) for key in chunk])
                for owner, *cells in cursor.fetchall():
                    snapshot = self._table.decode(cells)
                    found[self._table.key_of(snapshot)] = Row(owner, snapshot)
        return found

    def why_absent(self, key: str) -> CommitOutcome:
        """Why a locking read didn't bring a row."""
        return Locked() if key in self.read([key], lock=False) else Missing()

    def update(self, positions: tuple[int, ...], writes: Sequence[Write], owner: int) -> None:
        """Write those columns. Raises `Surprise` if one of the rows isn't the owner's."""
        table = self._table
        parameters = [
            (*(write.changes[i] for i in positions), table.pk_value(write.key), owner)
            for write in sorted(writes, key=lambda write: write.key)
        ]
        with quiet_cursor(self._connection) as cursor:
            cursor.executemany(table.update(positions), parameters)
            if cursor.rowcount not in (-1, len(parameters)):
                raise Surprise(f"{cursor.rowcount} of {len(parameters)} rows of {table.name} could be updated.")

    def own(self, keys: Sequence[str], owner: int) -> None:
        """Write the owner into rows that are locked."""
        self._each(f"UPDATE {self._table.name} SET {self._table.owner} = %s", [owner], keys)

    def disown(self, keys: Sequence[str], owner: int) -> None:
        """Clear the owner of those that are still this owner's; delete those that go with it."""
        if self._table.transient:
            self._each(f"DELETE FROM {self._table.name}", [], keys, owner)
        else:
            self._each(f"UPDATE {self._table.name} SET {self._table.owner} = NULL", [], keys, owner)

    def insert(self, keys: Sequence[str], alias: str) -> None:
        """Insert rows from the model's defaults, without its save logic; those that exist stay as they are."""
        field = self._table.pk_field
        for chunk in _chunks(keys):
            instances = [self._table.model(**{field.attname: field.to_python(key)}) for key in chunk]
            if self._table.inherited:
                _insert_inherited(instances, alias)
            else:
                self._table.model._base_manager.using(alias).bulk_create(instances, ignore_conflicts=True)

    def _each(self, statement: str, values: list[Any], keys: Sequence[str], owner: int | None = None) -> None:
        """Run it on the rows with those keys; on those of that owner only, where one is named."""
        table = self._table
        condition, more = (f" AND {table.owner} = %s", [owner]) if owner is not None else ("", [])
        with quiet_cursor(self._connection) as cursor:
            for chunk in _chunks(keys):
                marks = ", ".join(["%s"] * len(chunk))
                sql = f"{statement} WHERE {table.pk} IN ({marks}){condition}"
                cursor.execute(sql, [*values, *map(table.pk_value, chunk), *more])

    def _lock_clause(self, wait: bool) -> str:
        features = self._connection.features
        if not features.has_select_for_update:
            return ""
        skip = features.has_select_for_update_skip_locked and not wait
        clause = self._connection.ops.for_update_sql(
            nowait=features.has_select_for_update_nowait and not skip and not wait,
            skip_locked=skip,
            no_key=features.has_select_for_no_key_update,
        )
        return f" {clause}"


def _insert_inherited(instances: Sequence[Model], alias: str) -> None:
    """Rows of a model and of those that it inherits from, parents first."""
    for instance in instances:
        _share_key(instance)
        lineage = [*reversed(instance._meta.get_parent_list()), type(instance)]
        for model in lineage:
            for parent, link in model._meta.parents.items():
                if link is not None:
                    setattr(instance, link.attname, getattr(instance, parent._meta.pk.attname))
            fields = [field for field in model._meta.local_concrete_fields if not field.generated]
            _any(model._base_manager.using(alias))._insert([instance], fields, using=alias, on_conflict=_ignore())


def _share_key(instance: Model) -> None:
    """Give the instance's parents its own key, which is known here before they are inserted."""
    for model in (type(instance), *instance._meta.get_parent_list()):
        for parent, link in model._meta.parents.items():
            if link is not None and link.primary_key and link.model is model:
                setattr(instance, parent._meta.pk.attname, getattr(instance, link.attname))


def _any(value: Any) -> Any:
    return value


def _ignore() -> Any:
    from django.db.models.constants import OnConflict

    return OnConflict.IGNORE


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
