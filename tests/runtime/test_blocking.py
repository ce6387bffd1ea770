"""`def` messages on a running node: threads, deadlines and connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import post_save

from lightmoon_django import ref
from lightmoon_django.errors import DeadlineExceeded, Overloaded
from lightmoon_django.host import host
from tests.kinds.models import FreeLink, Hold, Link, Note
from tests.live.models import Tally
from tests.runtime.conftest import World, eventually


@pytest.fixture(autouse=True)
def hold() -> Iterator[None]:
    Hold.reset()
    yield
    Hold.go.set()


async def links(world: World, count: int) -> list[Any]:
    """Refs to that many actors of the backend."""
    assert world.node is not None  # started on this loop
    if not world.persistent:
        return [ref(FreeLink, f"f{i}") for i in range(count)]
    rows = await world.db(Link.objects.bulk_create, [Link() for _ in range(count)])
    if rows[0].pk is None:
        rows = await world.db(lambda: list(Link.objects.all()))
    return [ref(Link, row.pk) for row in rows]


def alias_of(world: World) -> str:
    return "pg" if world.backend == "postgresql" else "default"


async def begun(count: int) -> None:
    """That many handlers hold their threads."""
    for _ in range(count):
        assert await asyncio.to_thread(Hold.begun.acquire, timeout=10), "a handler did not begin"


@pytest.mark.parametrize(("threads", "pairs"), [(8, 8), (8, 40), (1, 7)])
async def test_blocking_messages_that_ask_blocking_messages_finish(
    world: World, settings: Any, threads: int, pairs: int
) -> None:
    """B81: eight at once, each asking another one; and as many as there may be threads, but for one that works."""
    settings.LIGHTMOON = {"WORKER_THREADS": threads}
    found = await links(world, 2 * pairs)
    calls = [found[i].ask.options(timeout=20)([found[pairs + i].key]) for i in range(pairs)]
    assert await asyncio.gather(*calls) == [2] * pairs


async def test_more_asking_messages_than_threads_may_be_are_refused(world: World, settings: Any) -> None:
    """9.14: at the hard cap, at once, and everything works again afterwards."""
    settings.LIGHTMOON = {"WORKER_THREADS": 1}
    found = await links(world, 40)
    calls = [found[i].ask.options(timeout=20)([found[20 + i].key]) for i in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert Overloaded in {type(answer) for answer in answers}
    assert {type(answer) for answer in answers} <= {int, Overloaded}
    assert await found[0].ask.options(timeout=20)([found[20].key]) == 2


async def test_a_chain_of_blocking_messages_is_longer_than_the_limit(world: World, settings: Any) -> None:
    """B81: each one that waits makes room for the next."""
    settings.LIGHTMOON = {"WORKER_THREADS": 2}
    found = await links(world, 12)
    assert await found[0].ask.options(timeout=20)([one.key for one in found[1:]]) == 12


async def test_stuck_messages_do_not_use_the_threads_up(world: World, settings: Any) -> None:
    """B40, 9.14: as many as there are threads never come back; other actors' messages and their own go on."""
    settings.LIGHTMOON = {"WORKER_THREADS": 2}
    *stuck, other = await links(world, 3)
    calls = [one.hold_then_write.options(timeout=0.2)(alias_of(world)) for one in stuck]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DeadlineExceeded] * 2
    assert await other.add.options(timeout=10)(1) == 1
    assert [await one.add.options(timeout=10)(1) for one in stuck] == [1, 1]


async def test_a_message_that_waits_for_a_thread_past_its_deadline_never_runs(world: World, settings: Any) -> None:
    """B52: its turn has begun, its handler has not."""
    settings.LIGHTMOON = {"WORKER_THREADS": 1}
    one, other = await links(world, 2)
    holding = asyncio.ensure_future(one.hold_then_write(alias_of(world)))
    await begun(1)
    with pytest.raises(DeadlineExceeded):
        await other.hold_then_write.options(timeout=0.1)(alias_of(world))
    Hold.go.set()
    await holding
    assert Hold.seen == ["written"]
    assert await other.add(1) == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_message_past_its_deadline_can_not_write_any_more(world: World, elsewhere: bool) -> None:
    """B72: neither in its own database nor in another one, and its fields aren't stored either."""
    alias = alias_of(world)
    if elsewhere:
        if world.backend != "postgresql":
            pytest.skip("Only there the test has a second database.")
        alias = "default"
    (one,) = await links(world, 1)
    await one.add(0)  # it is in memory, or the deadline could pass before its handler begins
    call = asyncio.ensure_future(one.hold_then_write.options(timeout=0.5)(alias))
    await begun(1)
    with pytest.raises(DeadlineExceeded):
        await call
    assert await one.add(1) == 1
    Hold.go.set()
    await eventually(lambda: Hold.seen, "the handler went on")
    assert [type(error) for error in Hold.seen] != [str]
    assert not await world.db(Note.objects.using(alias).exists)
    assert await one.add(1) == 2


async def test_a_save_that_never_returns_loses_its_actor_at_the_deadline(stored: World) -> None:
    """B40, B75: its caller is answered, nothing is stored, and the next turn runs on what is."""

    def receiver(instance: Tally, **_: Any) -> None:
        if instance.count == 7:
            Hold.wait()

    actor = await stored.make()
    await actor.add(0)  # it is in memory, or the deadline could pass before its handler begins
    post_save.connect(receiver, sender=Tally)
    try:
        call = asyncio.ensure_future(actor.add.options(timeout=0.5)(7))
        await begun(1)
        with pytest.raises(DeadlineExceeded):
            await call
        assert await actor.add.options(timeout=10)(1) == 1
        Hold.go.set()
        assert await actor.add(1) == 2
    finally:
        post_save.disconnect(receiver, sender=Tally)


async def test_blocking_messages_that_use_no_database_do_not_pass_for_a_look_at_the_row(stored: World) -> None:
    """B71: however often they are called, an outside write is seen within a second, and without an error."""
    (one,) = await links(stored, 1)
    assert await one.add(1) == 1
    await stored.db(Link.objects.update, count=100)
    until = time.monotonic() + 3.0
    while (count := await one.add.options(timeout=10)(0)) == 1 and time.monotonic() < until:
        await asyncio.sleep(0.02)
    assert count == 100


async def test_a_blocking_message_after_a_turn_that_can_not_be_stored_runs_all_the_same(stored: World) -> None:
    """B33, B72: its handler has not begun, so it neither fails nor sees what was undone."""
    actor = await stored.make()
    unlucky, after = asyncio.ensure_future(actor.add(13)), asyncio.ensure_future(actor.blocking(2))
    answers = await asyncio.gather(unlucky, after, return_exceptions=True)
    assert isinstance(answers[0], Exception)
    assert answers[1] == 2
    assert (await stored.stored(actor.key)).count == 2


# Connections

STORE_LEASE_AND_PEERS = 3


class Connections:
    """How many of this process are open in the database of the test."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: list[Any] = []
        connection_created.connect(self._note)

    def _note(self, connection: Any, **_: Any) -> None:
        self._made.append(connection)

    async def count(self) -> int:
        """Asked of the server, where there is one."""
        if self._world.backend == "postgresql":
            return len(await self.backends())
        return sum(one.connection is not None for one in set(self._made))

    async def falls_to(self, wanted: int) -> bool:
        for _ in range(200):
            if await self.count() <= wanted:
                return True
            await asyncio.sleep(0.02)
        pytest.fail(f"{await self.count()} connections are open, not {wanted}.")

    async def backends(self) -> list[int]:
        """Server processes of others than the one that asks."""

        def ask() -> list[int]:
            with connections["pg"].cursor() as cursor:
                cursor.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend'"
                )
                return [row[0] for row in cursor.fetchall()]

        return await self._world.db(ask)

    async def end_all(self) -> None:
        for pid in await self.backends():
            await self._world.db(self._end, pid)

    @staticmethod
    def _end(pid: int) -> None:
        with connections["pg"].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


@pytest.fixture(params=[0, 60, None])
async def aged(request: pytest.FixtureRequest, stored: World) -> AsyncIterator[tuple[World, Any]]:
    """A backend with each kind of CONN_MAX_AGE."""
    with mock.patch.dict(connections.settings[alias_of(stored)], CONN_MAX_AGE=request.param):
        yield stored, request.param
        await host.shut_down(grace=2.0)


async def test_connections_are_bounded_under_load_and_closed_after_it(aged: tuple[World, Any], settings: Any) -> None:
    """B17, field notes: 500 turns of 50 actors; as many connections as threads, and none when the node has stopped."""
    world, age = aged
    settings.LIGHTMOON = {"WORKER_THREADS": 4}
    known = Connections(world)
    await world.db(Note.objects.count)
    before = await known.count()
    found = await links(world, 50)
    calls = [asyncio.ensure_future(found[i % 50].touch.options(timeout=60)()) for i in range(500)]
    most = 0
    while not all(call.done() for call in calls):
        most = max(most, await known.count())
        await asyncio.sleep(0.02)
    await asyncio.gather(*calls)
    assert await world.db(Note.objects.count) == 500
    leaving = 4 if age == 0 else 0  # a server's process outlives its client's close() by a moment
    assert most - before <= 4 + STORE_LEASE_AND_PEERS + leaving
    if age == 0:
        assert await known.falls_to(before + STORE_LEASE_AND_PEERS)
    await host.shut_down()
    assert await known.falls_to(before)


async def test_a_kept_connection_that_broke_is_found_by_its_health_check(stored: World, settings: Any) -> None:
    """CONN_HEALTH_CHECKS: the turn after the server hung up runs on a new connection."""
    if stored.backend != "postgresql":
        pytest.skip("There is no server.")
    settings.LIGHTMOON = {"WORKER_THREADS": 1}
    kept = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    with mock.patch.dict(connections.settings["pg"], kept):
        (one,) = await links(stored, 1)
        first = await one.backend()
        assert await one.backend() == first
        await Connections(stored).end_all()
        assert await one.backend() != first
        await host.shut_down()


async def test_a_memory_actors_connections_follow_the_settings_too(world: World, settings: Any) -> None:
    """CONN_MAX_AGE=0: its ORM use leaves no connection behind, though no store looks after it."""
    if world.backend != "memory":
        pytest.skip("Others have a store.")
    settings.LIGHTMOON = {"WORKER_THREADS": 1}
    known = Connections(world)
    await world.db(Note.objects.count)
    (one,) = await links(world, 1)
    sleepers = world.node.reminders._sleepers.values()  # they have a connection, too
    await eventually(lambda: not any(sleeper._looking for sleeper in sleepers), "the sleepers sleep")
    before = await known.count()
    assert await one.touch() == 1
    assert await known.falls_to(before)
