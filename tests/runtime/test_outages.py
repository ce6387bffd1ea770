"""The database goes away under load, and comes back."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from lightmoon_django.errors import LightMoonError, OutcomeUnknown
from tests.runtime.conftest import World
from tests.services import Postgres

ACTORS = 20
CALLERS = 60
TIMEOUT = 20.0  # seconds of each call
LATE = 10.0  # seconds past its deadline after which a call counts as hung

on_postgresql = pytest.mark.parametrize(
    "stored",
    [pytest.param("postgresql", marks=pytest.mark.django_db(transaction=True, databases=["default", "pg"]))],
    indirect=True,
)


@pytest.fixture
def reconnected(transactional_db: None) -> Iterator[None]:
    """The test runner's own connection has ended with the server."""
    yield
    connections.close_all()


class Load:
    """Callers that add one again and again, and keep account of what they were told."""

    def __init__(self, actors: list[Any]) -> None:
        self._actors = actors
        self._stopped = False
        self.done: collections.Counter[int] = collections.Counter()
        self.unknown: collections.Counter[int] = collections.Counter()

    async def run(self) -> None:
        await asyncio.gather(*[self._call(number % len(self._actors)) for number in range(CALLERS)])

    async def _call(self, number: int) -> None:
        while not self._stopped:
            try:
                async with asyncio.timeout(TIMEOUT + LATE):
                    await self._actors[number].add.options(timeout=TIMEOUT)(1)
            except OutcomeUnknown:
                self.unknown[number] += 1
            except LightMoonError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(0.05)
            else:
                self.done[number] += 1

    def stop(self) -> None:
        self._stopped = True


async def outage(world: World, server: Postgres | None, away: float) -> None:
    if server is None:
        pytest.skip("The PostgreSQL that LIGHTMOON_TEST_PG names is somebody else's to stop.")
    actors = [await world.make(count=1000) for _ in range(ACTORS)]
    load = Load(actors)
    running = asyncio.ensure_future(load.run())
    await asyncio.sleep(0.5)
    before = sum(load.done.values())
    await asyncio.to_thread(server.stop)
    try:
        await asyncio.sleep(away)
    finally:
        await asyncio.to_thread(server.start)
        await world.db(connections.close_all)  # the test's own
    back = sum(load.done.values())
    async with asyncio.timeout(TIMEOUT + LATE):
        while sum(load.done.values()) < back + 100:
            await asyncio.sleep(0.05)
    load.stop()
    await running
    assert before, "nothing was answered before"
    for number, actor in enumerate(actors):
        counted = (await world.stored(actor.key)).count - 1000
        least, most = load.done[number], load.done[number] + load.unknown[number]
        assert least <= counted <= most, f"{least} were acknowledged, {most - least} may be stored, {counted} are"


@on_postgresql
async def test_the_database_goes_away_under_load(
    reconnected: None, stored: World, postgres_server: Postgres | None
) -> None:
    """B35: callers wait or get a typed error by their deadline, and no acknowledged change is missing."""
    await outage(stored, postgres_server, 1.0)


@pytest.mark.slow
@on_postgresql
async def test_the_database_is_away_for_ten_seconds(
    reconnected: None, stored: World, postgres_server: Postgres | None
) -> None:
    """B35: longer than a lease, so that the node takes a new incarnation."""
    await outage(stored, postgres_server, 10.0)
