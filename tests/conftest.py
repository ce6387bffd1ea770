"""What all tests share: the databases."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.db import connections

from tests import services


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


REAL_PROCESSES = (
    "browser",
    "client",
    "cluster",
    "server",
)  # folders whose tests drive processes that this machine must find time for


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of several real processes may run a second time on a busy machine; the summary names each that did."""
    for item in items:
        if item.path.parent.name in REAL_PROCESSES:
            item.add_marker(pytest.mark.flaky(reruns=1))
