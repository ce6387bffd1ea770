"""Carriers of each kind, for the one suite that all must pass."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests import services
from tests.cluster import world


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


KINDS = ("unix", "redis", "redis, plain", "memory", "lossy")


@pytest_asyncio.fixture(params=KINDS)
async def anywhere(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[world.World]:
    """A world over each kind of carrier in turn."""
    kind = request.param
    if kind == "unix":
        found = world.over_unix(directory)
    elif kind == "memory":
        found = world.over_memory()
    elif kind == "lossy":
        found = world.over_losses(seed=1)
    else:
        found = world.over_redis(request.getfixturevalue("shared_redis"), plain="plain" in kind)
    yield found
    await found.stop()
