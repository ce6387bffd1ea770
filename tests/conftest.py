"""What all tests share: the databases."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models.signals import post_migrate

from tests import services
from tests.databases import Databases


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[services.Postgres | None]:
    """The PostgreSQL of this session; None when LIGHTMOON_TEST_PG names one that somebody else runs."""
    if "LIGHTMOON_TEST_PG" in os.environ:
        yield None
        return
    with services.postgres() as server:
        yield server


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, postgres_server: services.Postgres | None
) -> None:
    """Tell Django where the session's PostgreSQL is, before the test databases are made."""
    if postgres_server is not None and "pg" in connections.databases:
        connections.databases["pg"].update(services.database_settings(postgres_server.uri))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """All tables are emptied after each test, which was most of its time: quicker, and without what nobody looks at."""
    from django.contrib.contenttypes.management import create_contenttypes

    assert post_migrate.disconnect(create_contenttypes)
    assert post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    if "pg" in connections.databases:
        operations: Any = connections["pg"].ops
        operations.sql_flush = functools.partial(deletions, operations)


def deletions(operations: BaseDatabaseOperations, style: object, tables: list[str], **options: bool) -> list[str]:
    """In place of TRUNCATE, which gives every table new files. Foreign keys are looked at when it commits."""
    assert not options.get("reset_sequences"), "No test needs that."
    return [f"DELETE FROM {operations.quote_name(table)};" for table in tables]


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """For processes that tests start."""
    found = Databases(tmp_path_factory.mktemp("databases"))
    yield found
    found.close()


# Folders whose tests drive processes that this machine must find time for.
REAL_PROCESSES = ("browser", "client", "cluster", "server")
FIRST = {"model": 0, "docs": 1, **dict.fromkeys(REAL_PROCESSES, 1)}


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders with long files come first: begun at the end, such a file would keep one process while others are idle.

    A test of several real processes may run a second time on a busy machine; the summary names each that did.
    """
    for item in items:
        if item.path.parent.name in REAL_PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: FIRST.get(item.path.parent.name, 2))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests had to run again: no defect may hide there."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("_", f"{report.nodeid} ran again")
        terminalreporter.write_line(report.longreprtext)
        terminalreporter.write_line(report.capstdout)
