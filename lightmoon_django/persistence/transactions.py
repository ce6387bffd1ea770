"""The caller's own transactions: what may be asked inside one, and what waits for its commit."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.errors import UsageError
from lightmoon_django.persistence import barrier


def open_connection() -> BaseDatabaseWrapper | None:
    """A connection of this thread inside an `atomic` block; blocks of Django's TestCase don't count."""
    for connection in connections.all(initialized_only=True):
        blocks = connection.atomic_blocks
        if blocks and not getattr(blocks[-1], "_from_testcase", False):
            return connection
    return None


def refuse_open(message: str, *, inside_turn: bool, allowed: bool) -> None:
    """Raise `UsageError` where asking would wait for a commit that waits for this caller.

    A turn on SQLite that has only read gives its lock up for the time of the ask.
    """
    if allowed:
        return
    if inside_turn:
        if barrier.wrote_in_this_thread():
            raise UsageError(
                f"{message}.sync() can't be asked here: this turn has written to SQLite, or is inside an atomic block, "
                "and so holds its only write lock: nobody else could commit. Ask first and write after, or use .tell()."
            )
        barrier.let_go()
        return
    if open_connection() is not None:
        raise UsageError(
            f"{message}.sync() was called inside an open transaction. The actor commits on another connection, so it "
            "could wait for locks that this transaction holds, and would not see its changes. Use .tell(), which "
            "leaves after the commit; or call it in transaction.on_commit(); or take the view out of ATOMIC_REQUESTS "
            "with @transaction.non_atomic_requests; or say .options(in_transaction=True) if you know that this "
            "transaction holds none of the actor's rows."
        )


def after_commit(send: Callable[[], object]) -> None:
    """Call `send` when this thread's open transaction commits, not at all if it rolls back; at once without one."""
    connection = open_connection()
    if connection is None:
        send()
    else:
        transaction.on_commit(lambda: (send(), None)[1], using=connection.alias)
