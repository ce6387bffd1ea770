"""Carriers of each kind, for the one suite that all must pass."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import services
from tests.cluster import world
from tests.cluster.nodes import Nodes, opened
from tests.cluster.processes import Group
from tests.databases import Databases


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def environment(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A database of each kind, for all tests of a module."""
    with databases.open(request.param, tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def group(environment: dict[str, str]) -> Iterator[Group]:
    """Processes over it, for one test."""
    with Group(environment) as found:
        yield found


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[services.Redis]:
    """For tests that neither stop nor flush it."""
    with services.redis_server() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[services.Redis]:
    """For tests that do."""
    with services.redis_server() as server:
        yield server


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short enough for the paths of sockets, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="lm-") as name:
        yield Path(name)


FAITHFUL = ("unix", "redis", "redis, plain", "memory")


def _open(kind: str, request: pytest.FixtureRequest) -> world.World:
    if kind == "unix":
        return world.over_unix(request.getfixturevalue("directory"))
    if kind == "memory":
        return world.over_memory()
    if kind == "lossy":
        return world.over_losses(seed=1)
    return world.over_redis(request.getfixturevalue("shared_redis"), plain="plain" in kind)


@pytest_asyncio.fixture(params=[*FAITHFUL, "lossy"])
async def anywhere(request: pytest.FixtureRequest) -> AsyncIterator[world.World]:
    """A world over each kind of carrier in turn."""
    found = _open(request.param, request)
    yield found
    await found.stop()


@pytest_asyncio.fixture(params=FAITHFUL)
async def faithful(request: pytest.FixtureRequest) -> AsyncIterator[world.World]:
    """Likewise, without the carrier that loses things though nothing has failed."""
    found = _open(request.param, request)
    yield found
    await found.stop()


@pytest.fixture(scope="session")
def unix_nodes(databases: Databases) -> Iterator[Nodes]:
    """Three processes of one host."""
    with opened(databases, "unix") as found:
        yield found


@pytest.fixture(scope="session")
def redis_nodes(databases: Databases, shared_redis: services.Redis) -> Iterator[Nodes]:
    """Three machines, as far as they know."""
    with opened(databases, "layer", shared_redis.url) as found:
        yield found


@pytest.fixture(params=["unix", pytest.param("redis", marks=pytest.mark.slow)])
def nodes(request: pytest.FixtureRequest) -> Nodes:
    """Long-lived processes that all tests share, over each carrier in turn. Those that a test kills are its guests."""
    found: Nodes = request.getfixturevalue(f"{request.param}_nodes")
    return found
