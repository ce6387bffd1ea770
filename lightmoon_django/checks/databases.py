"""Checks that ask the databases themselves. They run with `check --database` and with `migrate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Warning
from django.db import OperationalError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from lightmoon_django.actor import registry
from lightmoon_django.checks.project import actor_aliases

_HISTORY = "django_migrations"


def check_engines(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether a commit is as durable, and as little in the way, as LightMoon promises."""
    found: list[CheckMessage] = []
    for connection in _hosting(databases):
        if connection.vendor == "postgresql":
            found += _postgresql(connection)
        elif connection.vendor == "sqlite":
            found += _sqlite(connection)
    return found


def check_tables(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the tables that actors need are there. A database that was never migrated is left alone."""
    found: list[CheckMessage] = []
    for connection in _hosting(databases):
        with connection.cursor() as cursor:
            tables = set(connection.introspection.table_names(cursor))
        if _HISTORY in tables:
            found += _own_tables(connection.alias, tables)
            found += _owner_columns(connection, tables)
    return found


def _hosting(databases: Sequence[str] | None) -> list[BaseDatabaseWrapper]:
    """Connections to those of the databases that keep actors and can be reached."""
    hosts = actor_aliases()
    found = []
    for alias in databases or ():
        if alias not in hosts:
            continue
        try:
            connections[alias].ensure_connection()
        except OperationalError:
            continue  # whatever needs the database next says so better
        found.append(connections[alias])
    return found


def _postgresql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    for name in ("fsync", "synchronous_commit"):
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            value = cursor.fetchone()[0]
        if value == "off":
            yield Warning(
                f"Database {connection.alias!r} has {name} off: answers leave before what they say is on disk.",
                hint=f"Set {name} = on in PostgreSQL, unless losing the last moments in a crash is acceptable.",
                id="lightmoon.W051",
            )


def _sqlite(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        mode = cursor.fetchone()[0]
    if mode not in ("wal", "memory"):
        yield Warning(
            f"Database {connection.alias!r} is SQLite with journal_mode={mode}: readers and actors block each other.",
            hint='Set OPTIONS["init_command"] to "PRAGMA journal_mode=WAL".',
            id="lightmoon.W050",
        )


def _own_tables(alias: str, tables: set[str]) -> Iterator[CheckMessage]:
    missing = [model for model in apps.get_app_config("lightmoon").get_models() if model._meta.db_table not in tables]
    if not missing:
        return
    blocked = not all(router.allow_migrate_model(alias, model) for model in missing)
    names = ", ".join(model._meta.db_table for model in missing)
    yield Warning(
        f"Database {alias!r} keeps actors but lacks LightMoon's tables: {names}.",
        hint="Let the database router allow the app 'lightmoon' there, then run migrate."
        if blocked
        else f"Run `manage.py migrate --database {alias}`.",
        id="lightmoon.W052",
    )


def _owner_columns(connection: BaseDatabaseWrapper, tables: set[str]) -> Iterator[CheckMessage]:
    for cls in registry.registered():
        if not issubclass(cls, Model) or router.db_for_write(cls) != connection.alias:
            continue
        meta = cls._meta
        if meta.db_table in tables and registry.OWNER_FIELD not in _columns(connection, meta.db_table):
            yield Warning(
                f"The table {meta.db_table} of actor {cls.__name__} has no column {registry.OWNER_FIELD}.",
                hint=f"Run `manage.py makemigrations {meta.app_label}` and `manage.py migrate`.",
                obj=cls,
                id="lightmoon.W053",
            )


def _columns(connection: BaseDatabaseWrapper, table: str) -> set[str]:
    with connection.cursor() as cursor:
        return {column.name for column in connection.introspection.get_table_description(cursor, table)}
