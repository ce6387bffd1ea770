"""Activation, deactivation, deadlines, cancellation and overload."""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import Any

import pytest
from channels.exceptions import InvalidChannelLayerError

from lightmoon_django import ref
from lightmoon_django.errors import (
    ActorNotFound,
    Cancelled,
    Conflict,
    DeadlineExceeded,
    InternalError,
    LightMoonError,
    Overloaded,
    Rejected,
    Unavailable,
)
from lightmoon_django.host import host
from lightmoon_django.models import Node
from tests.live.models import Made, Probe, Scratch, Tally
from tests.runtime.conftest import PATIENCE, TestRouter, World, eventually


async def test_a_failed_activation_answers_everybody_at_once(stored: World) -> None:
    """B3, B4: every caller gets the error; the next call tries afresh."""
    actor = await stored.make()

    async def refuse(self: object) -> None:
        raise Rejected("Not today.")

    Probe.activate = refuse
    answers = await asyncio.gather(*[actor.add(1) for _ in range(10)], return_exceptions=True)
    assert all(isinstance(answer, Rejected) for answer in answers)
    Probe.activate = None
    assert await actor.add(1) == 1


async def test_a_hanging_activation_is_cancelled_at_its_limit(
    stored: World, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B5: and later calls work."""
    settings.LIGHTMOON = {"ACTIVATE_TIMEOUT": 0.2}  # type: ignore[attr-defined]
    actor = await stored.make()
    Probe.activate = lambda self: Probe.gate("never").wait()
    with pytest.raises(LightMoonError):
        await actor.add(1)
    Probe.activate = None
    assert await actor.add(1) == 1


async def test_a_missing_row_is_not_found_and_none_appears(stored: World) -> None:
    """B8: without create=True."""
    assert stored.node is not None
    with pytest.raises(ActorNotFound):
        await ref(Tally, 999_999).add(1)
    assert not await stored.db(Tally.objects.filter(pk=999_999).exists)


async def test_a_hundred_first_calls_make_one_row(stored: World) -> None:
    """B8: with create=True."""
    assert stored.node is not None
    made = ref(Made, "new")
    results = await asyncio.gather(*[made.add(1) for _ in range(100)])
    assert sorted(results) == list(range(1, 101))
    assert await stored.db(Made.objects.filter(name="new").count) == 1


async def test_an_idle_actor_leaves_memory_and_comes_back(stored: World) -> None:
    """B38: and no row is written for it."""
    actor = await stored.make()
    assert await actor.add(3) == 3
    activation = stored.activation(actor)
    assert activation is not None
    stored.node.catalog.deactivate(activation)
    await eventually(lambda: stored.activation(actor) is None, "it is gone")
    assert ("deactivate", actor.key) in Probe.log
    assert await actor.get() == 3


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_hook_that_raises_or_hangs_does_not_hold_up_the_end(world: World, hangs: bool) -> None:
    """B41: the node stops within its grace, and what was answered is stored."""
    actor = await world.make(count=1)
    assert await actor.add(1) == 2

    async def deactivate(self: object) -> None:
        if hangs:
            await Probe.gate("never").wait()
        raise ZeroDivisionError

    Probe.deactivate = deactivate
    began = time.monotonic()
    await host.shut_down(grace=0.5)
    assert time.monotonic() - began < 5.0
    assert ("deactivate", actor.key) in Probe.log
    if world.persistent:
        assert (await world.stored(actor.key)).count == 2


async def test_a_busy_actor_finishes_before_it_leaves(stored: World) -> None:
    """B39: the call finishes; queued ones go to the next activation."""
    actor = await stored.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    queued = asyncio.ensure_future(actor.add(10))
    await asyncio.sleep(0)
    first = stored.activation(actor)
    assert first is not None
    stored.node.catalog.deactivate(first)
    Probe.gate("g").set()
    assert await holding == 1
    assert await queued == 11
    assert stored.activation(actor) is not first


async def test_a_queued_call_past_its_deadline_never_runs(world: World) -> None:
    """B52: it ends with an error that says so."""
    actor = await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    with pytest.raises(DeadlineExceeded):
        await actor.add.options(timeout=0.05)(100)
    Probe.gate("g").set()
    await holding
    assert await actor.get() == 1


async def test_a_stuck_turn_loses_its_actor(world: World) -> None:
    """B40: its caller is answered, the queue moves on, the turn can't commit."""
    actor = await world.make()
    with pytest.raises(DeadlineExceeded):
        await actor.hold.options(timeout=0.05)("g", 1000)
    assert await actor.add(1) == 1
    Probe.gate("g").set()
    assert await actor.get() == 1


async def test_a_call_cancelled_in_the_queue_never_runs(world: World) -> None:
    """B51: before its start."""
    actor = await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    queued = asyncio.ensure_future(actor.add(100))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    Probe.gate("g").set()
    await holding
    assert await actor.get() == 1


async def test_a_call_cancelled_while_it_runs_is_undone(world: World) -> None:
    """B51: the handler sees CancelledError and the turn rolls back."""
    actor = await world.make()
    running = asyncio.ensure_future(actor.hold("g", 100))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    running.cancel()
    with pytest.raises((asyncio.CancelledError, Cancelled)):
        await running
    assert await actor.get() == 0


async def test_a_turn_knows_the_time_that_it_has_left(world: World, settings: object) -> None:
    """§8: the call's own, or that of the setting; on each of them queueing included."""
    settings.LIGHTMOON = {"CALL_TIMEOUT": 20}  # type: ignore[attr-defined]
    actor = await world.make()
    for timeout, seconds in ((None, 20), (9, 9), (datetime.timedelta(minutes=1), 60)):
        assert seconds / 2 < await actor.time_left.options(timeout=timeout)() <= seconds


async def test_more_actors_than_a_node_may_hold_are_refused(world: World, settings: object) -> None:
    """B53, 9.19: at once; those that are in memory go on."""
    settings.LIGHTMOON = {"MAX_ACTIVATIONS": 2}  # type: ignore[attr-defined]
    one, other, third = await world.make(), await world.make(), await world.make()
    await one.add(1)
    await other.add(1)
    with pytest.raises(Overloaded) as caught:
        await third.add(1)
    assert caught.value.retry_after
    assert await one.add(1) == 2


async def test_a_full_mailbox_answers_at_once(world: World, settings: object) -> None:
    """B53: others are not affected."""
    settings.LIGHTMOON = {"MAILBOX_LIMIT": 5}  # type: ignore[attr-defined]
    actor, other = await world.make(), await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    queued = [asyncio.ensure_future(actor.add(1)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await actor.add(1)
    assert caught.value.retry_after
    assert await other.add(1) == 1
    Probe.gate("g").set()
    await asyncio.gather(holding, *queued)


async def test_a_mailbox_of_large_messages_is_full_sooner(world: World, settings: object) -> None:
    """B53: what waits is bounded in bytes too. Small messages still come in, and all that was accepted runs."""
    settings.LIGHTMOON = {"MAILBOX_BYTES": 100_000}  # type: ignore[attr-defined]
    actor, other = await world.make(), await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    large = "x" * 40_000
    queued = [asyncio.ensure_future(actor.note(large)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="too large") as caught:
        await actor.note(large)
    assert caught.value.retry_after
    queued.append(asyncio.ensure_future(actor.note("small")))
    await other.note(large)
    Probe.gate("g").set()
    await asyncio.gather(holding, *queued)
    await actor.note(large)


async def test_a_stopping_node_that_loses_its_lease_believes_nothing_it_has_in_memory(
    stored: World, settings: object
) -> None:
    """B31, B42: stopped from another thread, as a process without a server is."""
    settings.LIGHTMOON = {"LEASE_SECONDS": 0.6}  # type: ignore[attr-defined]
    actor = await stored.make(count=1)
    node, alias = stored.node, TestRouter.alias
    node.verify_after = PATIENCE  # however slow this test is
    recording = asyncio.ensure_future(actor.record(0))
    await eventually(lambda: 0 in Probe.log, "it runs")
    reading = asyncio.ensure_future(actor.get())
    lease = host._storage.lease.of(alias)
    old = lease.incarnation()
    stopping = asyncio.ensure_future(asyncio.to_thread(host.stop))
    await eventually(lambda: node.stopping, "it stops")
    await stored.db(Node.objects.using(alias).filter(pk=old).update, dead=True)
    await eventually(lambda: lease.incarnation() != old and lease.valid(), "there is a new incarnation")
    await stored.db(Tally.objects.filter(pk=actor.key).update, count=7, lightmoon_owner=42)
    Probe.gate("record").set()
    recorded, read, _ = await asyncio.gather(recording, reading, stopping, return_exceptions=True)
    assert read == 7
    assert isinstance(recorded, Conflict)


async def test_a_stopping_node_finishes_what_it_accepted(stored: World) -> None:
    """B42: no accepted call is lost, and the rows are given back."""
    actor = await stored.make()
    node = stored.node
    calls = [asyncio.ensure_future(actor.add(1)) for _ in range(50)]
    await eventually(lambda: len(node.catalog) == 1, "the calls are in")
    await host.shut_down()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    good = [answer for answer in answers if isinstance(answer, int)]
    assert all(isinstance(answer, Unavailable) for answer in answers if not isinstance(answer, int))
    row = await stored.stored(actor.key)
    assert row.count == len(good) == 50


async def test_a_stop_that_takes_too_long_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """B41: as docs/deploy.md says; one that doesn't is not."""
    actor = await world.make()
    await actor.add(1)
    await host.shut_down(grace=5.0)
    assert "stop_timeout" not in [getattr(one, "action", "") for one in caplog.records]
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    await host.shut_down(grace=0.2)
    assert "stop_timeout" in [getattr(one, "action", "") for one in caplog.records]
    with pytest.raises(Unavailable):
        await holding


@pytest.mark.parametrize("way", ["tell", "ask"])
async def test_what_is_said_at_the_end_is_stored(stored: World, way: str) -> None:
    """B42: also where the actor that hears it isn't in memory; nobody else could take it."""
    keeper, leaver = await stored.make(), ref(Scratch, "leaver")
    await leaver.add(7)

    async def leave(self: Any) -> None:
        if isinstance(self, Scratch):
            if way == "tell":
                keeper.add.tell(self.count)
            else:
                await keeper.add(self.count)

    Probe.deactivate = leave
    await host.shut_down()
    assert (await stored.stored(keeper.key)).count == 7


async def test_a_call_that_expired_during_a_stall_of_the_loop_never_runs(stored: World) -> None:
    """B52: although no sweep could see it in time."""
    actor = await stored.make()

    async def stall(self: object) -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass

    Probe.activate = stall
    with pytest.raises(DeadlineExceeded):
        await actor.add.options(timeout=0.1)(1)
    assert await actor.get() == 0


async def test_a_row_of_which_no_instance_can_be_made_is_an_error_at_once(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B3: the model's own `from_db` raises."""
    actor = await stored.make()

    def broken(*args: object) -> None:
        raise ValueError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(Tally, "from_db", broken)
        with pytest.raises(InternalError):
            await asyncio.wait_for(actor.get(), PATIENCE / 2)
    assert await actor.get() == 0


async def test_a_server_whose_layer_is_broken_has_no_actors(world: World, settings: Any) -> None:
    """B3: others could not know of them."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}
    for _ in range(2):
        with pytest.raises(InvalidChannelLayerError):
            host.on_this_loop()
