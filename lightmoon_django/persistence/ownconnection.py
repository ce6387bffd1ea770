"""Connections outside the project's pool, for threads that must never wait for one, nor for a way that has gone dead.

The store's and the heartbeat's thread hold a connection for as long as the node lives. Taken from a pool, which
other threads may have emptied, it would come too late for the lease; and the store sets its session up for itself
alone, which nobody else must get to see.
"""

from __future__ import annotations

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# For libpq, whose own are the system's: that notices after a quarter of an hour, or two. What the project sets wins.
_IMPATIENT = {
    "connect_timeout": 5,  # seconds
    "tcp_user_timeout": 10_000,  # milliseconds that what was sent may go without an acknowledgement
    "keepalives_idle": 5,  # seconds
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 3,
}


def own_connection(alias: str) -> BaseDatabaseWrapper:
    """The calling thread's connection, which from now on is made for it and ended with `close()`."""
    connection = connections[alias]
    if connection.connection is None:
        _make_own(connection)
    return connection


def one_more_connection(alias: str) -> BaseDatabaseWrapper:
    """Another one, as impatient, for the calling thread, which closes it."""
    connection = connections.create_connection(alias)
    _make_own(connection)
    return connection


def _make_own(connection: BaseDatabaseWrapper) -> None:
    options = connection.settings_dict["OPTIONS"]
    own = {name: value for name, value in options.items() if name != "pool"}
    if connection.vendor == "postgresql":
        own = {**_IMPATIENT, **own}
    if own != options:
        connection.settings_dict = {**connection.settings_dict, "OPTIONS": own}
