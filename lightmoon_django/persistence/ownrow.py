"""The actor's own row inside the transaction of its turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.errors import UsageError
from lightmoon_django.fields import COMMIT_MARK
from lightmoon_django.persistence.columns import ModelColumns
from lightmoon_django.persistence.records import Record
from lightmoon_django.persistence.rows import Row, Rows
from lightmoon_django.persistence.store import Barrier, CommitOutcome, Committed, Lost, Missing, UnitOfWork
from lightmoon_django.persistence.table import Table


class Home(Protocol):
    """What a barrier needs of its store."""

    alias: str

    def incarnation(self) -> int: ...

    def table(self, schema: ActorSchema) -> Table: ...

    def model_columns(self, schema: ActorSchema) -> ModelColumns: ...

    def barrier_version(self, connection: BaseDatabaseWrapper, table: Table, key: str) -> Any:
        """The row's version as this transaction leaves it."""

    def keep_records(self, connection: BaseDatabaseWrapper, records: Sequence[tuple[str, str, Record]]) -> None:
        """Store records in the transaction that is under way. May raise `StaleReminder`."""

    def bound_waits(self, connection: BaseDatabaseWrapper, seconds: float) -> None:
        """Let no lock be waited for longer than that, in the transaction that has just begun."""

    def unbound_waits(self, connection: BaseDatabaseWrapper) -> None:
        """That transaction is over: locks are waited for as long as the project wants."""

    def transaction_id(self, connection: BaseDatabaseWrapper) -> str | None:
        """What `settled` needs to find out whether this transaction was committed."""

    def settled(self, transaction_id: str) -> bool | None:
        """Whether a transaction whose connection broke was committed; None when that can't be known."""


class Refused(Exception):
    """A database error, or a `StaleReminder`, while the turn was being stored."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error
        self.__cause__ = error


class OwnRow:
    """One barrier's row on its connection. Nothing here begins or ends a transaction."""

    def __init__(self, home: Home, barrier: Barrier, connection: BaseDatabaseWrapper) -> None:
        self._home = home
        self._me = home.incarnation()  # once: a new one, taken meanwhile, must not pass for this turn's
        self._schema, self._key, self._base = barrier.schema, barrier.key, barrier.base
        self._connection = connection
        self._table = home.table(barrier.schema)

    def fence(self) -> CommitOutcome | None:
        """None: the row is ours, as known, and locked."""
        rows = Rows(self._connection, self._table)
        row: Row | None = rows.read([self._key], lock=True, wait=True).get(self._key)
        if row is None:
            return Missing()
        ours = row.owner == self._me and self._table.same(row.snapshot, self._base)
        return None if ours else Lost()

    def store(self, unit: UnitOfWork) -> None:
        """Write its changes: by the model's own `save()` where that means more than an UPDATE."""
        if self._home.model_columns(self._schema).barrier is None:
            self._update_own(unit.changes)
            return
        unit.instance.__dict__[COMMIT_MARK] = self._me
        try:
            self._save_own(unit.instance)
        finally:
            unit.instance.__dict__.pop(COMMIT_MARK, None)

    def keep(self, records: Sequence[Record]) -> None:
        """Store the turn's records. Raises `StaleReminder`."""
        self._home.keep_records(self._connection, [(self._schema.name, self._key, record) for record in records])

    def _save_own(self, instance: Any) -> None:
        """Without arguments wherever possible: many models override `save()` and take none."""
        if router.db_for_write(type(instance), instance=instance) == self._home.alias:
            instance.save()
        else:
            instance.save(using=self._home.alias)

    def _update_own(self, changes: dict[int, Any]) -> None:
        key, me = self._table.pk_value(self._key), self._me
        with self._connection.cursor() as cursor:
            cursor.execute(self._table.update(changes), [*changes.values(), key, me])
            if cursor.rowcount == 0:
                self._own_again()
                cursor.execute(self._table.update(changes), [*changes.values(), key, me])

    def _own_again(self) -> None:
        """Its row is locked, so if it isn't this node's any more, the turn's own code has saved a copy of it."""
        Rows(self._connection, self._table).own([self._key], self._me)

    def result(self, unit: UnitOfWork) -> CommitOutcome:
        """What the row has become, as the commit's outcome."""
        key = self._key
        row = Rows(self._connection, self._table).read([key], lock=False).get(key)
        if row is None and contains(unit.deletes, unit.instance):
            return Committed(None)
        if row is None:
            raise Refused(
                UsageError("The turn deleted its own actor's row by a query. Use turn.delete(self) for that.")
            )
        if row.owner != self._me:
            self._own_again()
        return Committed(self._home.barrier_version(self._connection, self._table, key), row.snapshot)


def contains(instances: Any, instance: Any) -> bool:
    """Whether that very object is among them."""
    return any(one is instance for one in instances)
