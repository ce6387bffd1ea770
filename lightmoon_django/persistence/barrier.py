"""Barrier turns: user code and Django's own save logic inside one transaction with the actor's fields.

This is the way in, and what a turn's thread can be asked about its transaction. The transaction itself is `work`'s.
"""

from __future__ import annotations

import threading

from django.db import close_old_connections, connections

from lightmoon_django.persistence.ownrow import Home
from lightmoon_django.persistence.store import Barrier, CommitOutcome
from lightmoon_django.persistence.work import Work

_here = threading.local()


def wrote_in_this_thread() -> bool:
    """Whether this thread's turn has written in a transaction that holds SQLite's one write lock.

    An ask from here would wait for an actor that can't commit before this turn ends.
    """
    work: Work | None = getattr(_here, "work", None)
    return work is not None and work.holds_the_file()


def let_go() -> None:
    """Give SQLite's write lock back if this thread's turn has only read; its next query takes it again."""
    work: Work | None = getattr(_here, "work", None)
    if work is not None:
        work.let_go()


def transact(home: Home, barrier: Barrier) -> CommitOutcome:
    """Run a barrier turn on this thread's connection. What `barrier.run` or a `save()` raises passes through."""
    connection = connections[home.alias]
    own = not connection.in_atomic_block
    if own:
        close_old_connections()
    try:
        work = Work(home, barrier, connection)
        before, _here.work = getattr(_here, "work", None), work
        try:
            return work.run()
        finally:
            _here.work = before
    finally:
        if own:
            close_old_connections()
