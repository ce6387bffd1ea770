"""Connections outside the project's pool, for threads that must never wait for one.

The store's and the heartbeat's thread hold a connection for as long as the node lives. Taken from a pool, which
other threads may have emptied, it would come too late for the lease; and the store sets its session up for itself
alone, which nobody else must get to see.
"""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def own_connection(alias: str) -> BaseDatabaseWrapper:
    """The calling thread's connection, which from now on is made for it and ended with `close()`."""
    connection = connections[alias]
    options = connection.settings_dict["OPTIONS"]
    if options.get("pool") and connection.connection is None:
        unpooled = {name: value for name, value in options.items() if name != "pool"}
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": unpooled}
    return connection
