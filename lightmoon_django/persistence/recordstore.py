"""The half of a database's store that keeps records. The statements are `recorder`'s and `deliveries`'."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.persistence import answers
from lightmoon_django.persistence.batch import Batch
from lightmoon_django.persistence.deliveries import Deliveries
from lightmoon_django.persistence.recorder import Recorder
from lightmoon_django.persistence.records import Answer, Due, Find, Record
from lightmoon_django.persistence.store import Down, Write
from lightmoon_django.persistence.trouble import CannotConnect, is_lock, is_lost
from lightmoon_django.persistence.wallclock import system_clock


class RecordStore:
    """What `OrmStore` does for reminders, answers and durable tells, on its connection."""

    wall_clock: Callable[[], int]  # microseconds since 1970; judges which answers have expired

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.wall_clock = system_clock
        self._deliveries = Deliveries(alias)

    def _connected(self) -> BaseDatabaseWrapper:
        raise NotImplementedError

    def _transaction(
        self, connection: BaseDatabaseWrapper, *, writing: bool = True
    ) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError

    def _drop(self, connection: BaseDatabaseWrapper) -> None:
        raise NotImplementedError

    def recorder(self, connection: BaseDatabaseWrapper) -> Recorder:
        return Recorder(connection)

    def keep(self, connection: BaseDatabaseWrapper, writes: Sequence[Write]) -> None:
        """Store the records of writes, as a part of the transaction that stores those. May raise `StaleReminder`."""
        records = [(write.schema.name, write.key, record) for write in writes for record in write.records]
        self.keep_records(connection, records)

    def keep_records(self, connection: BaseDatabaseWrapper, records: Sequence[tuple[str, str, Record]]) -> None:
        """The same, with wire name and key of the actor for each."""
        if records:
            self.recorder(connection).store(Batch(records), self.wall_clock())

    def leave_alone(self, unhosted: Collection[str]) -> None:
        """Reminders of actor classes with these wire names are for other nodes."""
        self._deliveries.unhosted = unhosted

    def find(self, finds: Sequence[Find]) -> list[Answer | Down | None]:
        connection = used = None
        try:
            connection = self._connected()
            used = connection.connection
            rows = self.recorder(connection).find([one.id for one in finds], self.wall_clock())
        except CannotConnect as error:
            return [Down(error.error)] * len(finds)
        except Exception as error:
            if connection is None or not self._passes(error, connection, used):
                raise
            return [Down(error)] * len(finds)
        found = {row[0]: _answer(row) for row in rows}
        return [found.get(one.id) for one in finds]

    def due(self, now: int, until: int, limit: int) -> list[Due]:
        earliest = self.next_due()  # a look without a lock, which on SQLite would be everybody's
        if earliest is None or earliest > now:
            return []
        with self._asking():
            return self._deliveries.due(now, until, limit)

    def next_due(self) -> int | None:
        with self._asking(writing=False):
            return self._deliveries.next_due()

    def postpone(self, due: Due, wake_at: int, error: str, *, counts: bool = True) -> None:
        with self._asking():
            self._deliveries.postpone(due, wake_at, error, counts)

    def delivered(self, ids: Sequence[bytes]) -> None:
        with self._asking():
            self._deliveries.delivered(ids)

    def bury(self, due: Due, error: str, then: int | None) -> None:
        with self._asking():
            self._deliveries.bury(due, error, then, self.wall_clock())

    def paused(self) -> set[tuple[str, str]]:
        with self._asking(writing=False):
            return self._deliveries.paused()

    def clean(self, now: int, limit: int) -> int:
        with self._asking():
            return answers.clean(self.alias, now, limit)

    @contextlib.contextmanager
    def _asking(self, *, writing: bool = True) -> Iterator[None]:
        """A connection that works, in a transaction where something is written. Raises the database's own errors."""
        try:
            connection = self._connected()
        except CannotConnect as error:
            raise error.error from error
        used = connection.connection
        try:
            with self._transaction(connection) if writing else contextlib.nullcontext():
                yield
        except Exception as error:
            self._passes(error, connection, used)
            raise

    def _passes(self, error: Exception, connection: BaseDatabaseWrapper, used: Any) -> bool:
        """Whether asking again may help: somebody's lock, or a connection that broke. A broken one is let go."""
        if is_lost(error, connection, used):
            self._drop(connection)
            return True
        return is_lock(error)


def _answer(row: Sequence[Any]) -> Answer:
    id, fingerprint, payload, expires_at = row
    return Answer(id=id, fingerprint=bytes(fingerprint), payload=bytes(payload), expires_at=expires_at)
