"""Actors of two databases, SQLite and PostgreSQL, in one node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from lightmoon_django import operations, ref, testrun
from lightmoon_django.actor import registry
from lightmoon_django.errors import InternalError
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from lightmoon_django.models import Node, Outgoing
from lightmoon_django.persistence.store import Down
from tests.kinds.models import Far, Near, Note, Remark
from tests.runtime.conftest import PATIENCE, eventually, held_up
from tests.runtime.test_followers import PEER, follow

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "pg"])


class Router:
    """Rows by class. Reads would go to a replica that must never be asked for an actor's state."""

    def db_for_read(self, model: type, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: type, **hints: Any) -> str:
        return "pg" if model in (Far, Remark) else "default"

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True


async def db(run: Any, *args: Any, **kwargs: Any) -> Any:
    return await sync_to_async(run)(*args, **kwargs)


@pytest.fixture(autouse=True)
async def two_databases(settings: Any) -> AsyncIterator[None]:
    settings.DATABASE_ROUTERS = [Router()]
    settings.LIGHTMOON = {"LEASE_SECONDS": 0.6}
    with testrun.real_threads():
        assert host.on_this_loop() is not None
        yield
        await host.shut_down(grace=2.0)
        await db(connections.close_all)


async def near(**values: Any) -> Any:
    return ref(Near, (await db(Near.objects.using("default").create, **values)).pk)


def activation(actor: Any) -> Any:
    assert host.node is not None
    return host.node.find(Address(registry.name_of(actor.actor), actor.key))


async def stored(cls: Any, alias: str, key: str) -> int:
    found: int = await db(cls.objects.using(alias).values_list("count", flat=True).get, pk=key)
    return found


async def test_each_is_stored_in_its_own_database_and_loaded_from_where_it_is_written() -> None:
    """9.19: `db_for_write`, also for reading; a row that is made on demand is made there."""
    one = await near()
    assert await one.add(2) == 2
    assert await ref(Far, "a").add(3) == 3
    assert await stored(Near, "default", one.key) == 2
    assert await stored(Far, "pg", "a") == 3
    assert not await db(Near.objects.using("pg").exists)
    assert not await db(Far.objects.using("default").exists)


@pytest.mark.parametrize("message", ["visit", "visit_blocking"])
async def test_actors_of_two_databases_call_each_other(message: str) -> None:
    """In both directions, from `async def` and `def` messages."""
    one, other = await near(), ref(Far, "b")
    for reached in range(1, 4):
        assert await getattr(one, message).options(timeout=10)(other.key) == 2 * reached - 1  # type: ignore[attr-defined]
        assert await getattr(other, message).options(timeout=10)(one.key) == 2 * reached
    assert await stored(Near, "default", one.key) == 6
    assert await stored(Far, "pg", "b") == 6
    if message == "visit_blocking":
        assert await db(Note.objects.using("pg").count) == await db(Note.objects.using("default").count) == 3


async def test_a_lease_lost_in_one_database_costs_the_other_nothing() -> None:
    """B31: only the actors that it keeps are loaded anew, by a new incarnation."""
    one, other = await near(), ref(Far, "c")
    assert await one.add(1) == await other.add(1) == 1
    kept, lost = activation(one), activation(other)
    (old,) = await db(lambda: list(Node.objects.using("pg").filter(dead=False)))
    assert await db(Node.objects.using("pg").filter(dead=False).update, dead=True) == 1
    lease = host._storage.lease.of("pg")
    await eventually(lambda: lease.incarnation() != old.pk and lease.valid(), "there is a new incarnation")
    assert activation(other) is not lost
    assert await other.add(1) == 2
    assert await one.add(1) == 2
    assert activation(one) is kept
    owners = await db(lambda: list(Far.objects.using("pg").values_list("lightmoon_owner", flat=True)))
    assert owners == [lease.incarnation()]


async def test_nobody_follows_under_a_name_that_the_process_has_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """B31, B42: a lease lost in one database gives the process another name, and the other one's actors stay.

    Sessions of other nodes come back under the new name; one that doesn't, or was about to come, is not there.
    """
    one, two, other = await near(), await near(), ref(Far, "n")
    assert [await actor.get() for actor in (one, two)] == [0, 0]
    assert await other.add(1) == 1
    node = host.node
    assert node is not None
    cluster: Any = node.elsewhere
    cluster._on_frame(PEER, follow(one, "session-1"))
    await eventually(lambda: activation(one).subscribed, "one is followed")
    monkeypatch.setattr(node, "verify_after", 0.0)
    answered = held_up(monkeypatch, activation(two), "commit")
    cluster._on_frame(PEER, follow(two, "session-2"))
    await eventually(lambda: len(activation(two).gate), "two is about to be")
    assert await db(Node.objects.using("pg").filter(dead=False).update, dead=True) == 1
    await eventually(lambda: cluster._stopped, "the process has another name")
    answered.set()
    await eventually(lambda: not len(activation(two).gate), "two is free")
    assert not activation(one).subscribed
    assert not activation(two).subscribed
    ending = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "Cluster.stop"]  # type: ignore[union-attr]
    await asyncio.gather(*ending)


async def test_a_durable_tell_waits_for_a_paused_actor_of_the_other_database() -> None:
    """Operations: the pause stands beside the receiver's row, the tell beside the sender's."""
    one, other = await near(), ref(Far, "p")
    assert host.node is not None
    reminders, name = host.node.reminders, registry.name_of(Far)
    assert await other.add(1) == 1
    await db(operations.pause, other)
    await eventually(lambda: reminders.holds_back(name, other.key), "the node has heard of it")  # type: ignore[attr-defined]
    await one.send(other.key, 5)
    (tell,) = await db(lambda: list(Outgoing.objects.using("default").all()))
    async with asyncio.timeout(PATIENCE):
        while not await db(Outgoing.objects.using("default").filter(wake_at__gt=tell.wake_at, attempts=0).exists):
            await asyncio.sleep(0.01)  # it is looked at, and left
        assert await other.get() == 1
        await db(operations.resume, other)
        while await db(Outgoing.objects.using("default").exists):
            await asyncio.sleep(0.01)
    assert await other.get() == 6


async def test_nothing_is_believed_that_was_loaded_between_two_incarnations() -> None:
    """B31, B44: the old one is dead, so another node takes the row when it likes. Then its count is the right one."""
    other = ref(Far, "between")
    assert await other.add(1) == 1
    lease, taken = host._storage.lease.of("pg"), threading.Event()
    register = lease._nodes.register

    def late(*args: Any, **options: Any) -> None:
        taken.wait(10.0)
        register(*args, **options)

    with mock.patch.object(lease._nodes, "register", side_effect=late) as registers:
        await db(Node.objects.using("pg").filter(dead=False).update, dead=True)
        await eventually(lambda: registers.called, "the lease is lost, and its activations with it")
        asked = asyncio.ensure_future(other.get())
        await asyncio.wait({asked}, timeout=0.3)
        await db(Far.objects.using("pg").update, count=2, lightmoon_owner=42)
        taken.set()
        await eventually(lease.valid, "there is a new incarnation")
    assert await other.get() == 2
    await asked


async def test_a_database_that_is_away_does_not_slow_the_others_actors() -> None:
    """B35: their reads are answered from memory, and their writes are stored, after its lease has ended."""
    one, other = await near(), ref(Far, "d")
    assert await one.add(1) == await other.add(1) == 1
    far, close = activation(other).store, activation(one).store
    lease = host._storage.lease.of("pg")
    with (
        mock.patch.object(lease, "beat", side_effect=OSError("away")),
        mock.patch.object(far.store, "commit", side_effect=lambda writes: [Down(OSError("away"))] * len(writes)),
    ):
        await eventually(lambda: not lease.valid(), "the lease ended")
        held = asyncio.ensure_future(other.add.options(timeout=20)(1))
        assert await one.add(1) == 2
        with mock.patch.object(close, "commit", side_effect=AssertionError("a read went to the database")):
            assert await one.get() == 2
        assert not held.done()
    assert await held == 2


async def test_an_object_of_another_database_can_not_be_saved_with_a_turn(caplog: pytest.LogCaptureFixture) -> None:
    """B30: it would be no part of the commit. The turn fails, nothing is stored anywhere."""
    one = await near()
    with pytest.raises(InternalError):
        await one.save_elsewhere("pg")
    assert "can't be stored in one commit" in caplog.text
    assert await one.get() == 0
    assert not await db(Remark.objects.using("pg").exists)
    assert not await db(Remark.objects.using("default").exists)
    await one.save_elsewhere("default")
    assert await db(Note.objects.using("default").count) == 1
    assert await one.get() == 1
