"""Which store a database gets."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections

from lightmoon_django.conf import Settings
from lightmoon_django.persistence.orm import OrmStore


def open_store(alias: str, incarnation: Callable[[], int], settings: Settings, *, exclusive: bool = True) -> OrmStore:
    """The store of one database, by its engine. Nothing is connected yet.

    With `exclusive` its thread's connection is set up for it alone; a test's own connection stays as it is.
    """
    return _store_class(connections[alias].vendor)(alias, incarnation, settings, exclusive=exclusive)


def _store_class(vendor: str) -> type[OrmStore]:
    if vendor == "sqlite":
        from lightmoon_django.persistence.sqlite import SqliteStore

        return SqliteStore
    if vendor == "postgresql" and _has_psycopg3():
        from lightmoon_django.persistence.postgresql import PostgresStore

        return PostgresStore
    return OrmStore


def _has_psycopg3() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)
