"""The transaction of a barrier turn: user code, Django's own save logic and the actor's fields in one commit.

A transaction here is begun by its first query, and that query is preceded by a look at the actor's own row, which
locks it: from then on no other writer can come between what the turn read and what it stores. On SQLite the lock is
the whole file's, so a turn that computes for long before it first asks the database holds nobody up.

Commit and abandonment meet in `Barrier.begin_commit`. Whoever is refused there rolls back.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import DatabaseError, InterfaceError, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.errors import UsageError
from lightmoon_django.persistence import refusal
from lightmoon_django.persistence.ownrow import Home, OwnRow, Refused, contains
from lightmoon_django.persistence.records import StaleReminder
from lightmoon_django.persistence.silence import Wait, at_most
from lightmoon_django.persistence.store import (
    Barrier,
    CommitOutcome,
    Committed,
    Down,
    Failed,
    Locked,
    Lost,
    UnitOfWork,
    Unsettled,
)
from lightmoon_django.persistence.trouble import CannotConnect, connect, is_lock, is_lost
from lightmoon_django.persistence.watch import INTERVAL, Watch

logger = logging.getLogger("lightmoon")

SILENCE = 2.0  # seconds past its deadline that a turn waits for the server's last word

watch = Watch()


class Stopped(Exception):
    """Ends a transaction from inside, on the way through user code. `outcome` is what `transact` returns."""

    def __init__(self, outcome: CommitOutcome) -> None:
        super().__init__(f"This turn can't go on: {type(outcome).__name__}.")
        self.outcome = outcome


class Work:
    """One barrier turn in its transaction."""

    def __init__(self, home: Home, barrier: Barrier, connection: BaseDatabaseWrapper) -> None:
        self._home = home
        self._barrier = barrier
        self._connection = connection
        self._own = OwnRow(home, barrier, connection)
        self._nested = connection.in_atomic_block
        self._begun = False  # the row is locked and was found as this node knows it
        self._beginning = False
        self._stopped: CommitOutcome | None = None
        self._changes_at_begin = 0
        self._committing = False
        self._sealing = threading.Lock()  # a commit and the end of an abandoned turn meet here
        self._committed = False
        self._ended = False
        self._wait: Wait | None = None  # for a server that may have gone silent
        self._raw: Any = None  # the driver's connection that all this happens on
        self._transaction_id: str | None = None
        self._outcome: CommitOutcome = Committed(barrier.version)

    def run(self) -> CommitOutcome:
        try:
            connect(self._connection)
            self._raw = self._connection.connection
            with _lazily(self._connection, self._nested), self._patiently() as self._wait:
                self._transaction()
        except CannotConnect as error:
            return Down(error.error)
        except Stopped as stopped:
            return stopped.outcome
        except Exception as error:
            return self._explained(error)
        finally:
            self._end()
        return self._outcome

    def _patiently(self) -> contextlib.AbstractContextManager[Wait | None]:
        """A server ends what is past its deadline by itself, unless the way to it is dead."""
        if self._nested:
            return contextlib.nullcontext()
        return at_most(self._connection, max(0.0, self._barrier.seconds_left()) + SILENCE)

    def holds_the_file(self) -> bool:
        """Whether it has SQLite's lock and can't let go: it has written, or is inside a block that ends as a whole."""
        if not self._is_lazy or not self._begun:
            return False
        return bool(self._connection.savepoint_ids) or self._total_changes() != self._changes_at_begin

    def let_go(self) -> None:
        """Undo a transaction on SQLite that has only read."""
        if self._is_lazy and self._begun and not self.holds_the_file():
            self._connection.connection.rollback()
            self._begun = False

    def _end(self) -> None:
        with self._sealing:
            self._ended = True  # the connection may serve the next turn now
        watch.discard(self)

    def end_if_abandoned(self) -> None:
        """Give SQLite's lock back for a turn that is past its deadline and doesn't come back. From any thread."""
        with self._sealing:
            if not self._committing and not self._ended and not self._barrier.alive():
                raw = self._connection.connection
                if raw is not None:
                    _roll_back(raw)

    # The steps of a turn.

    def _transaction(self) -> None:
        with (
            transaction.atomic(using=self._home.alias),
            refusal.refuse_when_abandoned(self._barrier.alive, besides=self._home.alias),
            self._connection.execute_wrapper(self._guard),
        ):
            transaction.on_commit(self._note_commit, using=self._home.alias)
            unit = self._barrier.run()
            self._check()
            if unit.changes or unit.saves or unit.deletes or unit.records:
                self._begin()
                self._store(unit)
            if self._begun:
                self._finish(unit)
            self._check()
            self._seal()

    def _store(self, unit: UnitOfWork) -> None:
        for other in (*unit.saves, *unit.deletes):
            self._refuse_elsewhere(other)
        with self._ours():
            for other in unit.saves:
                other.save(using=self._home.alias)
            for other in unit.deletes:
                # A copy: Django takes the key from what it deletes, and this may still be rolled back.
                copy.copy(other).delete(using=self._home.alias)
            if unit.changes and not contains(unit.deletes, unit.instance):
                self._own.store(unit)
            self._own.keep(unit.records)

    def _refuse_elsewhere(self, other: Any) -> None:
        """Forced into this database, an object of another one would be there twice."""
        alias = router.db_for_write(type(other), instance=other)
        if alias != self._home.alias:
            raise UsageError(
                f"{type(other).__name__} is kept in the database {alias!r} and its actor in {self._home.alias!r}: they "
                "can't be stored in one commit. Send a message to an actor that is kept there."
            )

    def _finish(self, unit: UnitOfWork) -> None:
        """Check what commits check, and read what the actor's row has become."""
        with self._ours():
            if self._connection.vendor == "postgresql":
                self._connection.check_constraints()
            self._outcome = self._own.result(unit)
            if not self._nested:
                self._transaction_id = self._home.transaction_id(self._connection)

    def _seal(self) -> None:
        with self._sealing:
            if not self._barrier.begin_commit():
                raise Stopped(Lost())
            self._committing = True

    # Its beginning.

    def _guard(self, execute: Callable[..., Any], sql: Any, parameters: Any, many: bool, context: Any) -> Any:
        """Stands before every query that user code sends."""
        if not self._beginning:
            self._check()
            self._begin()
            if many and self._is_lazy:
                parameters = self._checked(parameters)
        return execute(sql, parameters, many, context)

    def _checked(self, rows: Iterable[Any]) -> Iterator[Any]:
        """The same, until the turn is given up. What came after its rollback would be stored, row by row."""
        for row in rows:
            self._check()
            yield row

    def _check(self) -> None:
        if self._stopped is not None:
            raise Stopped(self._stopped)
        refusal.check(self._barrier.alive)

    def _begin(self) -> None:
        """Begin the transaction, lock the actor's own row, and see that it is what this node knows."""
        if self._begun:
            return
        self._beginning = True
        try:
            self._send_begin()
            outcome = self._own.fence()
        except (DatabaseError, InterfaceError) as error:
            if not is_lock(error):
                raise
            outcome = Locked()
        finally:
            self._beginning = False
        if outcome is not None:
            self._stopped = outcome
            raise Stopped(outcome)
        self._begun = True
        self._changes_at_begin = self._total_changes()
        if self._is_lazy:
            watch.add(self)

    def _send_begin(self) -> None:
        if not self._nested:
            self._home.bound_waits(self._connection, max(0.001, self._barrier.seconds_left()))
        if self._is_lazy:
            with self._connection.wrap_database_errors:
                self._connection.connection.execute("BEGIN IMMEDIATE")

    # Its end.

    def _note_commit(self) -> None:
        """The first of the transaction's on_commit hooks. Those of user code use the connection as ever."""
        self._committed = True
        _eagerly(self._connection)
        if self._wait is not None:
            self._wait.end()
        if self._begun and not self._nested:
            self._home.unbound_waits(self._connection)

    def _explained(self, error: Exception) -> CommitOutcome:
        if self._committed:  # an on_commit hook of user code failed; what it came after is stored
            logger.exception(
                "An on_commit hook failed after its turn was stored.", extra={"action": "on_commit_failed"}
            )
            return self._outcome
        if self._stopped is not None:
            return self._stopped
        found = error.error if isinstance(error, Refused) else error
        if is_lost(found, self._connection, self._raw):
            return self._settled(found)
        if found is not error or (self._committing and isinstance(error, (DatabaseError, InterfaceError))):
            return Locked() if is_lock(found) else Failed(found)
        raise error

    def _settled(self, error: Exception) -> CommitOutcome:
        self._connection.close()
        if not self._committing or not self._begun:
            return Down(error)
        committed = None if self._transaction_id is None else self._home.settled(self._transaction_id)
        if committed is None:
            return Unsettled(error)
        return self._outcome if committed else Down(error)

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        """Database errors inside are the store's to explain, and not user code's to see."""
        try:
            yield
        except (DatabaseError, InterfaceError, StaleReminder) as error:
            raise Refused(error) from error

    @property
    def _is_lazy(self) -> bool:
        return self._connection.vendor == "sqlite" and not self._nested

    def _total_changes(self) -> int:
        return self._connection.connection.total_changes if self._connection.vendor == "sqlite" else 0


@contextlib.contextmanager
def _lazily(connection: BaseDatabaseWrapper, nested: bool) -> Iterator[None]:
    """Keep `atomic` from beginning a transaction on SQLite: `Work` does that at the first query."""
    if connection.vendor != "sqlite" or nested:
        yield
        return
    connection._start_transaction_under_autocommit = lambda: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        _eagerly(connection)


def _eagerly(connection: BaseDatabaseWrapper) -> None:
    """Undo what `_lazily` has done."""
    connection.__dict__.pop("_start_transaction_under_autocommit", None)


def _roll_back(raw: sqlite3.Connection) -> None:
    """From another thread than the one that uses it. A statement that runs there is interrupted only if it takes long.

    Where a SELECT is left half read, nothing gets through any more after an interruption, not even a rollback.
    """
    impatience = threading.Timer(INTERVAL, raw.interrupt)
    impatience.daemon = True
    impatience.start()
    try:
        raw.rollback()
    finally:
        impatience.cancel()
        impatience.join()  # the connection may serve somebody else after this
