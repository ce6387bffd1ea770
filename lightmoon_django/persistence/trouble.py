"""What a database error means: the connection is gone, somebody holds a lock, or the statement itself is bad."""

from __future__ import annotations

import sqlite3
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

_LOCK_STATES = frozenset({"55P03", "40P01", "40001"})  # lock_not_available, deadlock_detected, serialization_failure
_LOCK_NUMBERS = frozenset({1205, 1213, 3572})  # the same on MySQL
_LOCK_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class CannotConnect(Exception):
    """There is no connection, and so nothing was sent."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def is_lock(error: BaseException) -> bool:
    """Whether somebody's lock was in the way. Nothing was done."""
    cause = error.__cause__ or error
    if isinstance(cause, sqlite3.Error):
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _LOCK_CODES
    if getattr(cause, "sqlstate", None) in _LOCK_STATES:
        return True
    return isinstance(error, OperationalError) and bool(cause.args) and cause.args[0] in _LOCK_NUMBERS


def is_lost(error: BaseException, connection: BaseDatabaseWrapper, used: Any) -> bool:
    """Whether the error took the connection with it. `used` is the driver's own, on which it came up.

    When that broke in a transaction, Django's `atomic` has dropped it, and has made a new one by now if it could.
    """
    if not isinstance(error, (DatabaseError, InterfaceError)) or connection.vendor == "sqlite":
        return False
    raw = connection.connection
    if raw is not used and not connection.in_atomic_block:
        return True
    if raw is None or hasattr(raw, "closed"):  # asking it would fail, too, in a transaction that has failed
        return raw is None or bool(raw.closed)
    return isinstance(error, (OperationalError, InterfaceError)) and not is_lock(error) and not connection.is_usable()


def connect(connection: BaseDatabaseWrapper) -> None:
    """Have a connection that works. Raises `CannotConnect`."""
    raw = connection.connection
    if raw is not None and getattr(raw, "closed", False) and not connection.in_atomic_block:
        connection.close()
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError) as error:
        raise CannotConnect(error) from error
