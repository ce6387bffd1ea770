"""Ends waits for a database that has gone silent.

A way that goes dead without a word (a firewall that forgot a connection, a machine that lost its power) leaves the
driver waiting for an answer until TCP gives up, which takes a quarter of an hour, or for ever. A thread that waits
can't be stopped from outside, but its socket can be shut down: then it hears that the connection has broken, and goes
the way that it goes when a server hangs up.

SQLite has no socket and never gets silent; where a driver doesn't show its socket, nothing is done.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from lightmoon_django.persistence.watch import Watch

_watch = Watch()


class Wait:
    """A time after which a connection is broken. Implements `watch.Watched`."""

    def __init__(self, connection: BaseDatabaseWrapper, until: float) -> None:
        self._connection = connection
        self._until = until
        self._lock = threading.Lock()  # once the wait has ended the connection is somebody else's
        self._ended = False

    def end(self) -> None:
        """Nobody waits any more. From any thread."""
        with self._lock:
            self._ended = True

    def end_if_abandoned(self) -> None:
        with self._lock:
            if not self._ended and time.monotonic() >= self._until:
                hang_up(self._connection.connection)


@contextlib.contextmanager
def at_most(connection: BaseDatabaseWrapper, seconds: float) -> Iterator[Wait | None]:
    """Inside, the connection breaks once that time is over. To connect may take longer."""
    if connection.vendor == "sqlite":
        yield None
        return
    wait = Wait(connection, time.monotonic() + seconds)
    _watch.add(wait)
    try:
        yield wait
    finally:
        wait.end()
        _watch.discard(wait)


def hang_up(raw: Any) -> None:
    """Break a driver's connection from any thread. Who uses it gets the error of a connection that was lost."""
    driver = getattr(raw, "pgconn", None)
    if driver is None:
        return
    try:
        number = driver.socket
        copy = os.dup(number)
    except Exception:  # it is closed
        return
    try:
        if driver.socket == number:  # else that number may be another's by now
            with socket.socket(fileno=copy) as ours:
                copy = -1
                ours.shutdown(socket.SHUT_RDWR)
    except Exception:  # likewise
        pass
    finally:
        if copy >= 0:
            os.close(copy)
