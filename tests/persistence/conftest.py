"""The backends that every store is tried on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.persistence.world import World
from tests.runtime.conftest import TestRouter


def _backend(name: str) -> Any:
    databases = ["default", "pg"] if name == "postgresql" else ["default"]
    return pytest.param(name, marks=pytest.mark.django_db(transaction=True, databases=databases))


MEMORY, SQLITE, POSTGRESQL = _backend("memory"), _backend("sqlite"), _backend("postgresql")


def _opened(backend: str) -> Iterator[World]:
    world = World(backend)
    TestRouter.alias = world.alias
    yield world
    world.close()
    TestRouter.alias = "default"


@pytest.fixture(params=[MEMORY, SQLITE, POSTGRESQL])
def world(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[World]:
    """Memory, SQLite and PostgreSQL in turn."""
    yield from _opened(request.param)


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def database(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[World]:
    """SQLite and PostgreSQL in turn."""
    yield from _opened(request.param)


@pytest.fixture(params=[POSTGRESQL])
def postgresql(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[World]:
    yield from _opened(request.param)


@pytest.fixture(params=[SQLITE])
def sqlite(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[World]:
    yield from _opened(request.param)
