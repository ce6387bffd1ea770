"""Turns that do something odd, and commits that come at a bad moment: nobody may be stranded by them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from lightmoon_django import ref
from lightmoon_django.actor import registry
from lightmoon_django.errors import Conflict, InternalError, LightMoonError, OutcomeUnknown, Rejected, Unavailable
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from tests.live.models import Log, Odd, Owned, Picky, Probe, Tally
from tests.runtime.conftest import World, eventually, held_up

PATIENCE = 5.0  # seconds

in_memory = pytest.mark.parametrize(
    "world",
    [pytest.param("memory", marks=pytest.mark.django_db(transaction=True, databases=["default"]))],
    indirect=True,
)


def soon(awaitable: Any) -> Any:
    return asyncio.wait_for(awaitable, PATIENCE)


async def test_a_failed_commit_ahead_of_a_turn_with_other_rows_strands_nobody(stored: World) -> None:
    """B26, B33: the second one runs again on what is stored, where the constraint refuses it too."""
    actor = await stored.make(count=12)
    await actor.get()
    failed, again = await soon(asyncio.gather(actor.add(1), actor.with_log("x"), return_exceptions=True))
    assert isinstance(failed, InternalError)
    assert isinstance(again, LightMoonError)
    assert await soon(actor.get()) == 12
    await soon(actor.add(5))
    await soon(actor.with_log("y"))
    assert await stored.logs() == 1


@in_memory
async def test_a_turn_that_cancels_its_task_harms_no_other_actor(world: World) -> None:
    """B79: the task is used again for others."""
    assert world.node is not None
    assert await soon(ref(Odd, "a").kill_self()) == 1
    await asyncio.sleep(0)
    assert await soon(ref(Odd, "b").one()) == 1


@in_memory
async def test_a_timeout_left_open_stops_nobody(world: World) -> None:
    """B79: when it fires, its task waits for work, or runs somebody else's turn, which ends as a conflict."""
    assert world.node is not None
    assert await soon(ref(Odd, "a").later_cancel()) == 1
    with pytest.raises(Conflict):
        await soon(ref(Odd, "b").slow(0.2))
    assert await soon(ref(Odd, "b").one()) == 1


async def test_errors_are_judged_on_what_is_stored_too(stored: World) -> None:
    """B71: a handler that only refuses sees an outside write within a second."""
    row = await stored.db(Picky.objects.create, count=1)
    assert stored.node is not None
    picky = ref(Picky, row.pk)
    assert await picky.must_be(1) == 1
    await stored.db(Picky.objects.filter(pk=row.pk).update, count=2)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            assert await picky.must_be(2) == 2
            return
        except Rejected:
            assert time.monotonic() < until, "it still refuses by the old value"


async def test_a_blocking_turn_without_queries_sees_outside_writes_too(stored: World) -> None:
    """B71: although its transaction never looked at the row."""
    row = await stored.db(Picky.objects.create, count=1)
    assert stored.node is not None
    picky = ref(Picky, row.pk)
    assert await picky.peek() == 1
    await stored.db(Picky.objects.filter(pk=row.pk).update, count=2)
    until = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(Conflict):  # the turn that found it out
            if await picky.peek() == 2:
                return
        assert time.monotonic() < until, "it still answers the old value"


@in_memory
async def test_other_rows_of_an_actor_in_memory_are_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """B30: there is no commit that they could be part of, and nothing is lost in silence."""
    assert world.node is not None
    with pytest.raises(InternalError):
        await ref(Odd, "a").save_other()
    assert "kept in memory only" in caplog.text
    assert await world.db(Log.objects.count) == 0


class Ear:
    """A subscriber that keeps what it hears."""

    id = "ear"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def push(self, frame: str) -> None:
        self.heard.append(frame)

    def reset(self, address: Address, reason: str) -> None:
        self.heard.append(reason)


@in_memory
async def test_a_state_that_cannot_be_sent_ends_the_stream_and_not_the_caller(world: World) -> None:
    """B19: the turn is done, so it is answered; subscribers are told that their state is void."""
    assert world.node is not None
    odd, ear = ref(Odd, "a"), Ear()
    await odd.one()
    activation = world.node.find(Address(registry.name_of(Odd), "a"))
    activation.stream.subscribers["ear"] = ear
    assert await soon(odd.spoil()) == 1
    assert ear.heard == ["the view failed"]
    assert await soon(odd.one()) == 1


async def test_a_failed_turn_leaves_no_related_object_behind(stored: World) -> None:
    """B27: what it changed of another row is gone with it; and outside writes of that row are seen."""
    tally = await stored.db(Tally.objects.create, count=100)
    row = await stored.db(Owned.objects.create, tally=tally)
    assert stored.node is not None
    owned = ref(Owned, row.pk)
    with pytest.raises(Rejected):
        await owned.pay(True)
    assert await owned.pay() == 95
    await stored.db(Tally.objects.filter(pk=tally.pk).update, count=1000)
    assert await owned.pay() == 995


async def test_a_generated_column_comes_back_while_another_turn_runs(stored: World) -> None:
    """B37: what the database computed is there for the turn after."""
    tally = await stored.db(Tally.objects.create, count=100)
    row = await stored.db(Owned.objects.create, tally=tally)
    assert stored.node is not None
    owned = ref(Owned, row.pk)
    assert await owned.get_double() == 0
    adding, idling = asyncio.ensure_future(owned.add()), asyncio.ensure_future(owned.idle("g"))
    assert await adding == 1
    Probe.gate("g").set()
    await idling
    assert await owned.get_double() == 2


@in_memory
async def test_a_node_that_stops_answers_what_still_runs(world: World) -> None:
    """B41, B42: once the grace is over."""
    assert world.node is not None
    ask = asyncio.ensure_future(ref(Odd, "a").forever())
    await eventually(lambda: any(one.running for one in world.node.catalog), "it runs")
    await host.shut_down(grace=0.05)
    with pytest.raises(Unavailable):
        await soon(ask)


async def test_what_a_stopping_node_says_was_not_done_is_never_stored(stored: World, monkeypatch: Any) -> None:
    """B41: a change waits for a store that is busy beyond the grace, and has not left for it."""
    leaving, waiting = await stored.make(), await stored.make()
    await asyncio.gather(leaving.add(1), waiting.add(1))
    activation = stored.activation(leaving)
    assert activation is not None
    assert activation.store is not None
    store, told = activation.store, held_up(monkeypatch, activation, "commit")
    asks = [asyncio.ensure_future(leaving.add(1))]
    await eventually(lambda: store._busy, "the store is held up")
    asks.append(asyncio.ensure_future(waiting.add(1)))
    await eventually(lambda: store._waiting, "another change waits")
    reminders = stored.node.reminders
    give_back = reminders.give_back

    async def slowly() -> None:
        """What comes after the grace takes its time, and the store gets on meanwhile."""
        told.set()
        await eventually(lambda: store.idle, "the store is free")
        await give_back()

    monkeypatch.setattr(reminders, "give_back", slowly)
    await host.shut_down(grace=0.05)
    answers = await asyncio.gather(*asks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [OutcomeUnknown, Unavailable]
    assert (await stored.stored(waiting.key)).count == 1


async def test_asking_from_on_commit_of_a_blocking_turn_works(stored: World) -> None:
    """B77: its transaction is over then."""
    tally = await stored.make(count=100)
    row = await stored.db(Owned.objects.create, tally_id=tally.key)
    assert await ref(Owned, row.pk).hook(tally.key) == 1
    await eventually(lambda: stored.activation(tally) is not None, "the hook has asked")
    assert await tally.get() == 101
