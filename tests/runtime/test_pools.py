"""psycopg's connection pool: workers share it, the store and the lease don't depend on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock

import pytest
from django.db import connections

from lightmoon_django import ref
from lightmoon_django.errors import LightMoonError, Unavailable
from lightmoon_django.host import host
from tests.kinds.models import Hold, Link, Note
from tests.runtime.conftest import World

pytestmark = pytest.mark.filterwarnings("ignore:the default for the.*pool")

Pooled = Callable[..., Any]


@pytest.fixture
async def pooled(stored: World) -> AsyncIterator[Pooled]:
    """Call it with a pool's options: they hold for all threads from then on."""
    if stored.backend != "postgresql":
        pytest.skip("Only PostgreSQL has pools.")
    Hold.reset()
    patches: list[Any] = []

    async def use(**options: Any) -> World:
        await _close_all(stored)
        patches.append(mock.patch.dict(connections.settings["pg"], OPTIONS={"pool": options}, CONN_MAX_AGE=0))
        patches[-1].start()
        return stored

    yield use
    Hold.go.set()
    await host.shut_down(grace=5.0)
    await _close_all(stored)
    connections["pg"].close_pool()
    for one in patches:
        one.stop()


async def _close_all(world: World) -> None:
    await world.db(connections.close_all)
    connections.close_all()


async def links(world: World, count: int) -> list[Any]:
    assert world.node is not None
    rows = await world.db(Link.objects.bulk_create, [Link() for _ in range(count)])
    return [ref(Link, row.pk) for row in rows]


async def test_more_workers_than_connections_take_turns(pooled: Pooled) -> None:
    """They wait for each other in the pool, and all finish."""
    world = await pooled(min_size=0, max_size=2, timeout=20)
    found = await links(world, 20)
    await asyncio.gather(*[found[i % 20].touch.options(timeout=20)() for i in range(100)])
    assert await world.db(Note.objects.count) == 100


async def test_store_and_lease_need_no_connection_of_the_pool(pooled: Pooled, settings: Any) -> None:
    """Handlers keep the whole pool for longer than a lease: other actors are loaded and stored, nothing is lost."""
    settings.LIGHTMOON = {"LEASE_SECONDS": 0.5}
    world = await pooled(min_size=0, max_size=2, timeout=20)
    one, two, other = await links(world, 3)
    await world.db(connections.close_all)
    node = world.node
    holding = [asyncio.ensure_future(actor.hold_connection.options(timeout=20)()) for actor in (one, two)]
    for _ in holding:
        assert await asyncio.to_thread(Hold.begun.acquire, timeout=10)
    until, last = time.monotonic() + 1.2, 0
    while time.monotonic() < until:
        last += 1
        assert await other.quick.options(timeout=5)() == last
        await asyncio.sleep(0.01)
    assert node.lease.valid()
    Hold.go.set()
    assert await asyncio.gather(*holding) == [1, 1]


async def test_a_pool_that_is_empty_for_too_long_is_a_typed_error(pooled: Pooled, caplog: Any) -> None:
    """Retryable, without a word about the server for clients; and everything works again afterwards."""
    world = await pooled(min_size=0, max_size=1, timeout=0.3)
    one, other = await links(world, 2)
    await world.db(connections.close_all)
    holding = asyncio.ensure_future(one.hold_connection.options(timeout=20)())
    assert await asyncio.to_thread(Hold.begun.acquire, timeout=10)
    with pytest.raises(Unavailable) as caught:
        await other.touch.options(timeout=10)()
    assert type(caught.value) is Unavailable
    assert caught.value.retryable
    assert "connection" in str(caught.value)
    Hold.go.set()
    assert await holding == 1
    assert await other.touch.options(timeout=10)() == 1


async def test_asking_while_holding_the_last_connection_is_no_deadlock(pooled: Pooled, caplog: Any) -> None:
    """B81: the asked message gets none; that is an error for both, at the pool's timeout or the deadline."""
    world = await pooled(min_size=0, max_size=1, timeout=20)
    one, other = await links(world, 2)
    await world.db(connections.close_all)
    began = time.monotonic()
    with pytest.raises(LightMoonError):
        await one.read_then_ask.options(timeout=0.5)(other.key)
    assert time.monotonic() - began < 10
    assert await other.touch.options(timeout=10)() == 1
    assert await one.touch.options(timeout=10)() == 2


async def test_the_stores_session_is_not_handed_to_others(pooled: Pooled) -> None:
    """Its planner settings and its lock timeout would follow the connection through the pool into ordinary views."""
    world = await pooled(min_size=0, max_size=1, timeout=5)
    (one,) = await links(world, 1)
    assert await one.quick() == 1
    await host.shut_down()

    def seen() -> dict[str, str]:
        with connections["pg"].cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name IN ('enable_seqscan', 'lock_timeout')")
            return dict(cursor.fetchall())

    assert await world.db(seen) == {"enable_seqscan": "on", "lock_timeout": "0"}
