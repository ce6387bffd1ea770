"""B66: what only the databases know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
from django.core.checks import CheckMessage
from django.db import connection, connections

from lightmoon_django.actor import registry
from lightmoon_django.checks import databases
from tests.app.models import Counter

POSTGRES = "pg"


@contextmanager
def hosting(alias: str) -> Iterator[None]:
    """All actors live in that database."""
    with (
        mock.patch.object(databases, "actor_aliases", return_value={alias}),
        mock.patch.object(databases.router, "db_for_write", return_value=alias),
    ):
        yield


def only(found: list[CheckMessage]) -> CheckMessage:
    assert len(found) == 1, found
    assert found[0].hint
    return found[0]


@pytest.mark.django_db
def test_a_sound_database_passes() -> None:
    """B66: nothing is said about it."""
    with hosting("default"):
        assert databases.check_engines(["default"]) == []
        assert databases.check_tables(["default"]) == []


def test_no_database_is_asked_unless_it_is_named() -> None:
    """B66: a plain `check` connects to nothing."""
    assert databases.check_engines(None) == []
    assert databases.check_tables(None) == []


@pytest.mark.django_db
def test_sqlite_without_wal_is_a_warning() -> None:
    """B66: readers and actors would block each other."""
    with hosting("default"), mock.patch.object(databases, "_hosting", return_value=[_Answering("sqlite", "delete")]):
        found = only(databases.check_engines(["default"]))
    assert found.id == "lightmoon.W050"
    assert "journal_mode=WAL" in str(found.hint)


@pytest.mark.skipif(POSTGRES not in connections, reason="psycopg is not installed")
@pytest.mark.django_db(databases=[POSTGRES])
def test_postgresql_without_synchronous_commit_is_a_warning() -> None:
    """B66: replies would leave before the disk has them."""
    with hosting(POSTGRES):
        assert databases.check_engines([POSTGRES]) == []
        with connections[POSTGRES].cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
        found = only(databases.check_engines([POSTGRES]))
    assert found.id == "lightmoon.W051"
    assert "synchronous_commit = on" in str(found.hint)


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["lightmoon_node", "lightmoon_reminder", "lightmoon_answer", "lightmoon_pause"])
def test_a_missing_table_is_a_warning(missing: str) -> None:
    """B66: a database that keeps actors needs all of ours, and the hint says which command makes them."""
    tables = set(connection.introspection.table_names()) - {missing}
    found = only(list(databases._own_tables("default", tables)))
    assert found.id == "lightmoon.W052"
    assert found.msg.endswith(f"tables: {missing}.")
    assert "migrate" in str(found.hint)


@pytest.mark.django_db
def test_a_missing_owner_column_is_a_warning() -> None:
    """B66: somebody added @actor and forgot makemigrations."""
    with (
        hosting("default"),
        mock.patch.object(databases, "_columns", return_value={"id", "count"}),
        mock.patch.object(registry, "registered", return_value=iter([Counter])),
    ):
        found = only(list(databases._owner_columns(connection, {Counter._meta.db_table})))
    assert found.id == "lightmoon.W053"
    assert "makemigrations testapp" in str(found.hint)


class _Answering:
    """A connection on which every query answers one value."""

    def __init__(self, vendor: str, answer: str) -> None:
        self.vendor = vendor
        self.alias = "default"
        self._answer = answer

    def cursor(self) -> _Answering:
        return self

    def __enter__(self) -> _Answering:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, query: str) -> None:
        pass

    def fetchone(self) -> tuple[str]:
        return (self._answer,)
