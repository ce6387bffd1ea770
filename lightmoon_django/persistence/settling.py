"""What became of a group whose connection broke while it was in flight.

The statement may have been stored, may not, or may even be stored later by a server process that still runs. So the
same write is tried again under the same condition: where it succeeds, the first try has not been stored and never
can be, because the row's version has moved on. Where it is refused, a look tells whether the row already holds what
was written, and nothing else that is new. Records are stored again with the write, which changes nothing where they
have been stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from django.db import DataError, IntegrityError

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence.rows import Row
from lightmoon_django.persistence.store import CommitOutcome, Committed, Failed, Lost, Unsettled, Write
from lightmoon_django.persistence.table import Table

logger = logging.getLogger("lightmoon")

PATIENCE = 2.0  # seconds for the database to come back; after that callers learn that the outcome is unknown
PAUSE = 0.05  # seconds between attempts to connect


class Settler(Protocol):
    """What settling needs of a store."""

    def store_group(self, writes: Sequence[Write]) -> list[CommitOutcome]: ...

    def reconnect(self) -> None:
        """Raises if there is no connection."""

    def look(self, schema: ActorSchema, key: str) -> Row | None: ...

    def table(self, schema: ActorSchema) -> Table: ...

    def incarnation(self) -> int: ...


def settle(store: Settler, writes: Sequence[Write], error: Exception) -> list[CommitOutcome]:
    """The outcomes of a group that was in flight when `error` broke its connection."""
    if not _reconnected(store):
        return [Unsettled(error)] * len(writes)
    return [_settle(store, write, error) for write in writes]


def _reconnected(store: Settler) -> bool:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            store.reconnect()
            return True
        except Exception:
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE)


def _settle(store: Settler, write: Write, error: Exception) -> CommitOutcome:
    try:
        outcome = store.store_group([write])[0]
        if isinstance(outcome, Committed) or not (write.changes or write.records):
            return outcome
        return _looked(store, write, error) if isinstance(outcome, Lost) and write.changes else Unsettled(error)
    except (IntegrityError, DataError) as found:  # so was the first try
        return Failed(found)
    except Exception:  # a lock, a connection that broke again, or a reminder that the first try has replaced
        logger.info("A commit stays in doubt.", exc_info=True, extra={"action": "unsettled"})
        return Unsettled(error)


def _looked(store: Settler, write: Write, error: Exception) -> CommitOutcome:
    row = store.look(write.schema, write.key)
    if row is None or row.owner != store.incarnation():
        return Unsettled(error)
    table = store.table(write.schema)
    # The other columns count, too: somebody may have written them after the first try, and memory knows nothing of it.
    if not table.same(row.snapshot, write.base, write.changes):
        return Unsettled(error)
    return Committed(row.version, row.snapshot if table.columns.generated else None)
