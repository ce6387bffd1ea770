"""Checks of the project's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import Model

from lightmoon_django import conf
from lightmoon_django.actor import registry
from lightmoon_django.checks import members
from lightmoon_django.models import Place

_POOL_DEFAULT = 4  # psycopg_pool's min_size, which is also its size unless max_size is given
_STORE_CONNECTIONS = 3  # the store, the heartbeat, and who looks up other nodes
_VIEWS = 2  # connections of a pool that workers should leave to ordinary views


def check_settings(**_: Any) -> list[CheckMessage]:
    """`LIGHTMOON` itself."""
    try:
        settings = conf.settings()
    except (ImproperlyConfigured, TypeError) as error:
        return [
            Error(
                str(error),
                hint="Correct the dict LIGHTMOON in the settings module.",
                id="lightmoon.E030",
            )
        ]
    return [
        Error(
            found.msg,
            hint="LIGHTMOON['DEFAULT_PERMISSION_CLASSES'] is a list of dotted paths of permission classes.",
            id="lightmoon.E031",
        )
        for found in members.check_permissions(object, "LIGHTMOON", settings.DEFAULT_PERMISSION_CLASSES)
    ]


def check_installed_apps(**_: Any) -> list[CheckMessage]:
    """Daphne replaces `runserver`, but only when it is found before the one of staticfiles."""
    order = [config.name for config in apps.get_app_configs()]
    static = "django.contrib.staticfiles"
    if "daphne" in order and static in order and order.index("daphne") > order.index(static):
        return [
            Warning(
                "'daphne' stands after 'django.contrib.staticfiles', so `runserver` serves no WebSockets.",
                hint="Move 'daphne' to the top of INSTALLED_APPS.",
                id="lightmoon.W042",
            )
        ]
    return []


def check_connections(**_: Any) -> list[CheckMessage]:
    """How databases are connected to, as far as settings say."""
    found: list[CheckMessage] = []
    hosts = actor_aliases()
    for alias in connections:
        options = connections[alias].settings_dict
        found += _persistent(alias, options, hosts_actors=alias in hosts and connections[alias].vendor != "sqlite")
        if alias in hosts:
            found += _sqlite(alias, options) if connections[alias].vendor == "sqlite" else _pool(alias, options)
    return found


def actor_aliases() -> set[str]:
    """The databases that keep actors, or say who has those that live in memory only."""
    return {router.db_for_write(cls if issubclass(cls, Model) else Place) for cls in registry.registered()}


def _persistent(alias: str, options: Mapping[str, Any], *, hosts_actors: bool) -> Iterator[CheckMessage]:
    if options["CONN_MAX_AGE"] == 0:
        return
    if getattr(django_settings, "ASGI_APPLICATION", None):
        yield Warning(
            f"Database {alias!r} keeps connections (CONN_MAX_AGE), which leak under ASGI: each thread has its own.",
            hint="Set CONN_MAX_AGE to 0, and for PostgreSQL OPTIONS['pool'] to True.",
            id="lightmoon.W041",
        )
    if hosts_actors:
        yield Warning(
            f"Database {alias!r} keeps connections (CONN_MAX_AGE): each process with actors may hold "
            f"{_workers() + _STORE_CONNECTIONS} of them, one for each worker thread.",
            hint="Set CONN_MAX_AGE to 0 and use OPTIONS['pool'] where connecting is too slow, or lower "
            "LIGHTMOON['WORKER_THREADS']; the server's max_connections must be enough for all processes together.",
            id="lightmoon.W045",
        )


def _sqlite(alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if str(options["NAME"]) == ":memory:":
        yield Warning(
            f"Database {alias!r} is in memory, where every thread sees a database of its own.",
            hint="Use a file: actors are stored by a thread of their own.",
            id="lightmoon.W044",
        )
    if options["OPTIONS"].get("transaction_mode", "").upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield Warning(
            f"Database {alias!r} is SQLite with deferred transactions: one that reads before it writes fails with "
            "'database is locked' when an actor was stored in between.",
            hint='Set OPTIONS["transaction_mode"] to "IMMEDIATE".',
            id="lightmoon.W040",
        )


def _pool(alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    pool = options["OPTIONS"].get("pool")
    if not pool:
        return
    given = pool if isinstance(pool, dict) else {}
    size = given.get("max_size") or given.get("min_size", _POOL_DEFAULT)
    needed = _workers() + _VIEWS
    if size < needed:
        yield Warning(
            f"Database {alias!r} has a pool of {size} connections, but {_workers()} worker threads and the views of "
            "each process share it.",
            hint=f'Set OPTIONS["pool"] to {{"max_size": {needed}}} or more, or lower LIGHTMOON["WORKER_THREADS"].',
            id="lightmoon.W043",
        )


def _workers() -> int:
    try:
        return conf.settings().WORKER_THREADS
    except (ImproperlyConfigured, TypeError):
        return conf.Settings().WORKER_THREADS
