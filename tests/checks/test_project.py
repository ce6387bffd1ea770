"""B66: settings that take something away from what LightMoon promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from django.core.checks import CheckMessage
from django.db import connections
from django.test import override_settings

from lightmoon_django.checks import project


def only(found: list[CheckMessage]) -> CheckMessage:
    assert len(found) == 1, found
    assert found[0].hint
    return found[0]


@contextmanager
def database(alias: str = "default", **changes: Any) -> Iterator[None]:
    """Other settings for one database, without connecting to it."""
    with mock.patch.dict(connections[alias].settings_dict, changes):
        yield


def found_in_connections(number: str) -> list[CheckMessage]:
    return [one for one in project.check_connections() if one.id == number]


def test_the_settings_of_the_tests_pass() -> None:
    """B66: nothing is said about settings that are right."""
    assert project.check_settings() == []
    assert project.check_installed_apps() == []
    assert project.check_connections() == []


@override_settings(LIGHTMOON={"CALL_TIMOUT": 3})
def test_an_unknown_setting_is_an_error() -> None:
    """B66: a misspelled one would be ignored otherwise."""
    found = only(project.check_settings())
    assert found.id == "lightmoon.E030"
    assert "CALL_TIMOUT" in found.msg
    assert "CALL_TIMEOUT" in found.msg


@override_settings(LIGHTMOON={"CALL_TIMEOUT": "soon"})
def test_a_setting_that_cannot_work_is_an_error() -> None:
    """B66: and says what it must be."""
    found = only(project.check_settings())
    assert found.id == "lightmoon.E030"
    assert "number" in found.msg


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEFAULT_PERMISSION_CLASSES", "rest_framework.permissions.AllowAny"),
        ("HARMLESS_RECEIVERS", "auctions.receivers.count"),
        ("WORKER_THREADS", 0),
        ("MAILBOX_LIMIT", 0.5),
        ("CALL_TIMEOUT", float("nan")),
        ("HISTORY", float("inf")),
    ],
)
def test_a_value_with_which_nothing_works_is_an_error(name: str, value: Any) -> None:
    """B66: a text would be taken for a list of letters, and no thread and no message would ever do anything."""
    with override_settings(LIGHTMOON={name: value}):
        found = only(project.check_settings())
    assert found.id == "lightmoon.E030"
    assert name in found.msg


def test_nothing_may_mean_that_there_is_no_limit_or_none_of_it() -> None:
    """What is documented so stays so."""
    for name in ("RATE_LIMIT", "CONNECT_RATE_LIMIT", "HISTORY", "PRESENCE_LIMIT", "MAX_SUBSCRIPTIONS"):
        with override_settings(LIGHTMOON={name: 0}):
            assert project.check_settings() == []


@override_settings(LIGHTMOON={"DEFAULT_PERMISSION_CLASSES": ["nowhere.Nobody"]})
def test_a_default_permission_class_that_is_missing_is_an_error() -> None:
    """B66: nobody could be judged."""
    assert only(project.check_settings()).id == "lightmoon.E031"


def test_deferred_transactions_on_sqlite_are_a_warning() -> None:
    """B66: ordinary views would fail with 'database is locked'."""
    with database(OPTIONS={}):
        found = only(found_in_connections("lightmoon.W040"))
    assert "IMMEDIATE" in str(found.hint)


def test_sqlite_in_memory_is_a_warning() -> None:
    """B66: the store's thread would see another database."""
    with database(NAME=":memory:"):
        assert only(found_in_connections("lightmoon.W044")).id == "lightmoon.W044"


def test_persistent_connections_under_asgi_are_a_warning() -> None:
    """B66: they leak."""
    with database(CONN_MAX_AGE=60):
        found = only(found_in_connections("lightmoon.W041"))
        assert "CONN_MAX_AGE" in str(found.hint)
        with override_settings(ASGI_APPLICATION=None):
            assert found_in_connections("lightmoon.W041") == []


@override_settings(ASGI_APPLICATION=None, LIGHTMOON={"WORKER_THREADS": 5})
@pytest.mark.parametrize("age", [60, None])
def test_persistent_connections_to_a_server_that_keeps_actors_are_a_warning(age: int | None) -> None:
    """B66: without ASGI, too, each worker thread holds one."""
    with mock.patch.object(project, "actor_aliases", return_value={"pg"}), database("pg", CONN_MAX_AGE=age):
        found = only(project.check_connections())
    assert found.id == "lightmoon.W045"
    assert " 8 of them" in found.msg
    assert "WORKER_THREADS" in str(found.hint)


@override_settings(ASGI_APPLICATION=None)
def test_persistent_connections_elsewhere_cost_nothing() -> None:
    """B66: neither in a database without actors, nor to a file."""
    hosts = mock.patch.object(project, "actor_aliases", return_value={"default"})
    with hosts, database("pg", CONN_MAX_AGE=60), database("default", CONN_MAX_AGE=60):
        assert project.check_connections() == []


@pytest.mark.parametrize(("pool", "warned"), [(True, True), ({"max_size": 4}, True), ({"max_size": 10}, False)])
def test_a_pool_smaller_than_the_threads_is_a_warning(pool: Any, warned: bool) -> None:
    """B66: 8 workers, and something for the views; the store and the lease have connections of their own."""
    found = list(project._pool("pg", {"OPTIONS": {"pool": pool}}))
    assert [one.id for one in found] == (["lightmoon.W043"] if warned else [])


def test_daphne_after_staticfiles_is_a_warning() -> None:
    """B66: runserver would serve no WebSockets."""
    configs = [mock.Mock(), mock.Mock()]
    configs[0].name, configs[1].name = "django.contrib.staticfiles", "daphne"
    with mock.patch.object(project.apps, "get_app_configs", return_value=configs):
        found = only(project.check_installed_apps())
    assert found.id == "lightmoon.W042"
    assert "top of INSTALLED_APPS" in str(found.hint)
