"""Which turns of one actor may overlap, and what becomes of calls that come back to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightmoon_django.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    DeadlockError,
    LightMoonError,
    Rejected,
    TooDeep,
)
from tests.live.models import Probe
from tests.runtime.conftest import PATIENCE, World, eventually, held_up
from tests.runtime.test_durability import listen


async def looking(*gates: str) -> None:
    await eventually(lambda: all(("looking", gate) in Probe.log for gate in gates), f"{gates} are being read")


async def test_read_only_messages_overlap_and_a_writer_overlaps_neither(world: World) -> None:
    """B11: also not those that come after the writer."""
    actor = await world.make(count=5)
    first, second = asyncio.ensure_future(actor.look("a")), asyncio.ensure_future(actor.look("b"))
    await looking("a", "b")
    writing = asyncio.ensure_future(actor.add(1))
    late = asyncio.ensure_future(actor.look("c"))
    await asyncio.sleep(0.02)
    assert ("looking", "c") not in Probe.log, "it may not overtake the writer"
    Probe.gate("b").set()
    assert await second == 5
    assert not writing.done()
    Probe.gate("a").set()
    assert await first == 5
    assert await writing == 6
    await looking("c")
    Probe.gate("c").set()
    assert await late == 6


async def test_a_writer_keeps_readers_out(world: World) -> None:
    """B11: a read-only message waits for the writer to end."""
    actor = await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it writes")
    reading = asyncio.ensure_future(actor.get())
    await asyncio.sleep(0.01)
    assert not reading.done()
    Probe.gate("g").set()
    assert (await holding, await reading) == (1, 1)


async def test_a_stuck_reader_is_abandoned_alone(world: World) -> None:
    """B11, B40: those beside it go on, and so does the actor."""
    actor = await world.make(count=3)
    await actor.get()  # it is in memory: the deadline is the turn's alone
    stuck = asyncio.ensure_future(actor.look.options(timeout=0.5)("never"))
    fine = asyncio.ensure_future(actor.look("a"))
    await looking("never", "a")
    with pytest.raises(DeadlineExceeded):
        await stuck
    assert not fine.done()
    Probe.gate("a").set()
    assert await fine == 3
    assert await actor.add(1) == 4


async def test_a_cancelled_reader_leaves_the_others_alone(world: World) -> None:
    """B51: among readers that overlap."""
    actor = await world.make(count=3)
    taken_back, fine = asyncio.ensure_future(actor.look("x")), asyncio.ensure_future(actor.look("a"))
    await looking("x", "a")
    taken_back.cancel()
    with pytest.raises((asyncio.CancelledError, Cancelled)):
        await taken_back
    Probe.gate("a").set()
    assert await fine == 3
    assert await actor.add(1) == 4


async def test_a_reader_that_is_read_back_completes(world: World) -> None:
    """B11: although a writer waits in between; it would wait for the reader, and the reader for it."""
    one, other = await world.make(count=8), await world.make()
    holding = asyncio.ensure_future(other.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "the other one is busy")
    through = asyncio.ensure_future(one.look_through(other.key))
    writing = asyncio.ensure_future(one.add(1))
    await asyncio.sleep(0.01)
    Probe.gate("g").set()
    assert await through == 8
    assert await writing == 9
    await holding


async def test_a_reentrant_message_comes_back_while_others_wait(world: World) -> None:
    """B13: A → B → A completes as a part of A's turn; an unrelated caller sees nothing of the middle."""
    one, other = await world.make(), await world.make()
    listener = await listen(world, one)
    calling = asyncio.ensure_future(one.call_through(other.key))
    unrelated = asyncio.ensure_future(one.come_back(10_000))
    assert await calling == 101
    assert await unrelated == 11_101
    assert await other.get() == 1
    assert sum("lm.event" in frame for frame in listener.frames) == 2
    if world.persistent:
        assert (await world.stored(one.key)).count == 11_101


async def test_a_reentrant_message_that_fails_takes_back_only_its_own_changes(world: World) -> None:
    """B13, B27: JSON included, and its events."""
    one, other = await world.make(), await world.make()
    listener = await listen(world, one)
    assert await one.call_through(other.key, "come_back_failing", 7) == -7
    assert await one.get() == 1100
    assert await one.get_data() == {}
    assert not any("lm.event" in frame for frame in listener.frames)


async def test_what_came_back_is_undone_with_the_turn_it_came_back_to(world: World) -> None:
    """B13, B27: it is a part of that turn."""
    one, other = await world.make(), await world.make()
    listener = await listen(world, one)
    with pytest.raises(Rejected):
        await one.call_through(other.key, fail="After all.")
    assert await one.get() == 0
    assert listener.frames == []
    assert await one.add(1) == 1


async def test_without_reentrant_it_is_a_deadlock(world: World) -> None:
    """B12: as before; the message must say that it may come back."""
    one, other = await world.make(), await world.make()
    with pytest.raises(DeadlockError):
        await one.call_through(other.key, "add")
    assert await one.get() == 0


async def test_a_turn_that_ends_without_what_came_back_is_undone(world: World) -> None:
    """B13: a turn can't be stored in the middle of another one."""
    one, other = await world.make(), await world.make()
    with pytest.raises(Conflict):
        await one.leave_while_inside(other.key)
    assert await one.get() == 0
    Probe.gate("back").set()
    asked = next(item for item in Probe.log if isinstance(item, asyncio.Future))
    assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], LightMoonError)
    assert await one.add(1) == 1


async def test_a_stuck_call_back_gives_up_the_whole_turn(world: World) -> None:
    """B40: every caller is answered, nothing is stored, the actor goes on."""
    one, other = await world.make(), await world.make()
    with pytest.raises(LightMoonError):
        await one.call_through.options(timeout=0.1)(other.key, "come_back_waiting")
    assert await one.get() == 0
    assert await one.add(1) == 1
    assert await other.add(1) == 1


@pytest.mark.parametrize("depth", [10, 1000])
async def test_self_calls_have_a_depth_limit(world: World, depth: int) -> None:
    """B14: a clear error, and the actor stays usable."""
    actor = await world.make()
    if depth < 64:
        assert await actor.dig(depth) == 0
        return
    with pytest.raises(TooDeep, match="deep"):
        await actor.dig(depth)
    assert await actor.add(1) == 1


async def test_chains_across_actors_have_a_depth_limit(world: World) -> None:
    """B14: across actors too."""
    actors = [await world.make() for _ in range(80)]
    keys = [actor.key for actor in actors]
    assert await actors[0].chain(keys[1:40]) == 39
    with pytest.raises(TooDeep):
        await actors[0].chain(keys[1:])
    assert await actors[0].add(0) == 1, "each turn of the chain was undone or is its own"


async def test_callbacks_run_once_the_turn_is_durable(world: World) -> None:
    """B34: not when it fails."""
    actor = await world.make()
    with pytest.raises(Rejected):
        await actor.note_commits(fail=True)
    await actor.note_commits()
    wanted: list[Any] = [("callback", False), ("async callback", 1)]
    await eventually(lambda: all(Probe.log.count(one) == 1 for one in wanted), "both have run")


async def test_a_blocking_turn_past_its_deadline_takes_back_what_it_asked(world: World) -> None:
    """B51, B40: the cancellation reaches the actor that it waits for."""
    one, other = await world.make(), await world.make()
    with pytest.raises(LightMoonError):
        await one.ask_blocking.options(timeout=0.2)(other.key, "never")
    assert await other.get() == 0
    assert await one.add(1) == 1


async def test_what_comes_back_to_a_plain_method_is_a_deadlock(world: World) -> None:
    """B12: also a reentrant message, as nothing may start beside a plain one."""
    one, other = await world.make(), await world.make()
    with pytest.raises(DeadlockError):
        await asyncio.wait_for(one.call_through_blocking(other.key), PATIENCE / 2)
    assert await one.get() == 0


async def test_a_reader_is_read_back_after_one_beside_it_has_saved(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B11: the call comes back while that one commits alone, as it saves another object."""
    one, other = await stored.make(count=8), await stored.make()
    holding = asyncio.ensure_future(other.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "the other one is busy")
    await one.get()
    activation = stored.activation(one)
    assert activation is not None
    told = held_up(monkeypatch, activation, "transact")
    through = asyncio.ensure_future(one.look_through(other.key))
    await eventually(lambda: activation.readers, "it waits")
    saving = asyncio.ensure_future(one.look_and_log("x"))
    await eventually(lambda: activation.barrier, "the other reader commits")
    Probe.gate("g").set()
    await eventually(lambda: activation.reentering, "it is read back")
    told.set()
    assert await asyncio.wait_for(asyncio.gather(saving, through), PATIENCE / 2) == [8, 8]
    await holding
