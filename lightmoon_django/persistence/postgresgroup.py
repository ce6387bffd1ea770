"""A group on PostgreSQL: an UPDATE for each set of columns, which tells by what it returns which writes were stored."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence.arrayrecorder import with_records
from lightmoon_django.persistence.records import Answer, Outgoing
from lightmoon_django.persistence.statements import Statement, Statements
from lightmoon_django.persistence.store import CommitOutcome, Committed, Locked, Lost, Missing, Write
from lightmoon_django.persistence.table import Table
from lightmoon_django.persistence.trouble import CannotConnect

logger = logging.getLogger("lightmoon")

Part = tuple[ActorSchema, tuple[int, ...], bool]  # writes to the same columns, and whether they lock their rows


class Home(Protocol):
    """What a group needs of its store."""

    def incarnation(self) -> int: ...

    def table(self, schema: ActorSchema) -> Table: ...

    def statements(self, table: Table, connection: BaseDatabaseWrapper) -> Statements: ...

    def execute(self, connection: BaseDatabaseWrapper, statement: Statement) -> list[Any]: ...

    def keep(self, connection: BaseDatabaseWrapper, writes: Sequence[Write]) -> None:
        """Store the records of writes whose rows are stored or locked."""

    def wall_clock(self) -> int: ...


class Group:
    """One group that is to be stored by one transaction. Nothing here begins or ends it."""

    def __init__(
        self, store: Home, connection: BaseDatabaseWrapper, writes: Sequence[Write], *, singly: bool = False
    ) -> None:
        """`singly`: every row by a statement of its own, whose values the driver writes."""
        self._singly = singly
        self._store = store
        self._connection = connection
        self._owner = store.incarnation()
        self._writes = writes
        self._outcomes: dict[int, CommitOutcome] = {}  # by id of the write
        self._parts: dict[Part, list[Write]] = defaultdict(list)
        for write in writes:
            self._parts[write.schema, tuple(write.changes), write.locks].append(write)
        records = [(number, record) for number, write in enumerate(writes, 1) for record in write.records]
        self._inserted = [(number, record) for number, record in records if isinstance(record, (Answer, Outgoing))]
        self._has_others = len(records) > len(self._inserted)

    @property
    def is_one_statement(self) -> bool:
        """Whether `run_at_once` can store it."""
        if len(self._parts) > 1 or self._has_others:
            return False
        return all(self._carried(schema, positions) for schema, positions, _ in self._parts)

    def run_at_once(self) -> None:
        (statement,) = (self._statement(*part) for part in self._parts.items())
        if self._inserted:
            statement = with_records(statement, self._inserted, self._store.wall_clock())
        self._take_in(self._writes, self._execute(statement))

    def run(self) -> None:
        """The same for all others, in a transaction that the caller has begun."""
        for (schema, positions, locks), writes in self._parts.items():
            if self._carried(schema, positions):
                self._take_in(writes, self._execute(self._statement((schema, positions, locks), writes)))
            else:
                self._run_singly(self._statements(schema), positions, writes)
        keeping = [write for write in self._writes if write.records and id(write) in self._outcomes]
        if keeping:
            self._store.keep(self._connection, keeping)

    def _statement(self, part: Part, writes: Sequence[Write]) -> Statement:
        schema, positions, locks = part
        statements = self._statements(schema)
        if positions:
            return statements.update(positions, writes, self._owner)
        return statements.lock(writes, self._owner) if locks else statements.verify(writes, self._owner)

    def explain(self) -> None:
        """Find out why writes were not stored, by a fresh statement each. Raises nothing: the others are stored."""
        rest: dict[ActorSchema, list[Write]] = defaultdict(list)
        for write in self._writes:
            if id(write) not in self._outcomes:
                rest[write.schema].append(write)
        for schema, writes in rest.items():
            known = self._judged(schema, writes)
            for number, write in enumerate(writes, 1):
                self._outcomes[id(write)] = Locked() if known is None else _refusal(write, known.get(number))

    def _judged(self, schema: ActorSchema, writes: Sequence[Write]) -> dict[int, bool] | None:
        """By number, whether a row that exists is as known. None where that can't be told now.

        The others of the group are stored: whatever is in the way here, as a migration's lock, is no error of theirs.
        """
        try:
            return dict(self._execute(self._statements(schema).judge(writes, self._owner)))
        except (CannotConnect, DatabaseError, InterfaceError):
            logger.info("It is not known yet why rows could not be written.", exc_info=True, extra={"action": "judge"})
            return None

    def outcomes(self) -> list[CommitOutcome]:
        return [self._outcomes[id(write)] for write in self._writes]

    def _run_singly(self, statements: Statements, positions: tuple[int, ...], writes: Sequence[Write]) -> None:
        locked = {number for number, _ in self._execute(statements.lock(writes, self._owner))}
        for number, write in enumerate(writes, 1):
            if number not in locked:
                continue
            with self._connection.cursor() as cursor:
                cursor.execute(*statements.single(positions, write, self._owner))
                self._take_in([write], [(1, *row) for row in cursor.fetchall()])

    def _take_in(self, writes: Sequence[Write], rows: Sequence[Any]) -> None:
        stored: dict[str, Committed] = {}  # rows of one transaction have one version
        for number, version, *cells in rows:
            write = writes[number - 1]
            if cells:
                outcome = Committed(version, self._store.table(write.schema).decode(cells))
            elif (found := stored.get(version)) is not None:
                outcome = found
            else:
                outcome = stored[version] = Committed(version)
            self._outcomes[id(write)] = outcome

    def _execute(self, statement: Statement) -> list[Any]:
        return self._store.execute(self._connection, statement)

    def _statements(self, schema: ActorSchema) -> Statements:
        return self._store.statements(self._store.table(schema), self._connection)

    def _carried(self, schema: ActorSchema, positions: tuple[int, ...]) -> bool:
        return not positions or (not self._singly and self._statements(schema).carries(positions))


def _refusal(write: Write, as_known: bool | None) -> CommitOutcome:
    if as_known is None:
        return Missing()
    return Locked() if as_known and write.locks else Lost()
