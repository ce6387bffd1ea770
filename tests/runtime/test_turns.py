"""Turns: one at a time, in order, atomic, by value."""

from __future__ import annotations

import asyncio
import time

import pytest

from lightmoon_django import ref
from lightmoon_django.errors import DeadlockError, InternalError, InvalidParams, Rejected, UsageError
from tests.live.models import Probe, Scratch, Tally
from tests.runtime.conftest import World, eventually


async def test_a_ref_costs_nothing_until_it_is_called(world: World) -> None:
    """B2: a ref that is never called activates nothing."""
    node = world.node
    world.ref("12")
    assert len(node.catalog) == 0


async def test_hundred_first_calls_share_one_activation(world: World) -> None:
    """B1: one load, one activation, every caller answered."""
    actor = await world.make()
    Probe.log.clear()
    if world.persistent:
        results = await asyncio.gather(*[actor.add(1) for _ in range(100)])
        assert sorted(results) == list(range(1, 101))
        assert Probe.log == [("activate", actor.key)]
    else:
        fresh = world.ref("fresh")
        results = await asyncio.gather(*[fresh.add(1) for _ in range(100)])
        assert sorted(results) == list(range(1, 101))
        assert Probe.log == [("activate", "fresh")]


async def test_calls_during_activation_run_after_it_in_order(world: World) -> None:
    """B6: they queue, and keep their order."""
    actor = await world.make()
    if world.persistent:
        gate = Probe.gate("activation")
        Probe.activate = lambda self: gate.wait()
        calls = [asyncio.ensure_future(actor.add(1)) for _ in range(5)]
        await eventually(lambda: ("activate", actor.key) in Probe.log, "activation began")
        assert not any(call.done() for call in calls)
        gate.set()
        assert await asyncio.gather(*calls) == [1, 2, 3, 4, 5]


async def test_500_messages_of_one_sender_run_in_the_order_sent(world: World) -> None:
    """B9: also when the first one is slow."""
    actor = await world.make()
    calls = [asyncio.ensure_future(actor.record(i)) for i in range(500)]
    await eventually(lambda: 0 in Probe.log, "the first one runs")
    Probe.gate("record").set()
    await asyncio.gather(*calls)
    assert [item for item in Probe.log if isinstance(item, int)] == list(range(500))


async def test_no_message_sees_the_middle_of_a_turn(world: World) -> None:
    """B10: a handler that awaits keeps everybody else out."""
    actor = await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "the handler waits")
    reading = asyncio.ensure_future(actor.get())
    await asyncio.sleep(0)
    assert not reading.done()
    Probe.gate("g").set()
    assert await holding == 1
    assert await reading == 1


async def test_a_failed_turn_leaves_no_trace(world: World) -> None:
    """B27: fields roll back, those inside JSON too, and nothing is stored."""
    actor = await world.make(count=5)
    await actor.note("kept")
    with pytest.raises(Rejected) as caught:
        await actor.fail_after_change()
    assert (caught.value.code, caught.value.data) == ("refused", {"at": 7})
    assert await actor.get() == 5
    assert await actor.get_data() == {"items": ["kept"]}
    if world.persistent:
        row = await world.stored(actor.key)
        assert (row.count, row.data) == (5, {"items": ["kept"]})


async def test_an_undeclared_error_arrives_as_internal_without_its_detail(world: World) -> None:
    """B18: the caller gets an id, not the secret; the actor goes on."""
    actor = await world.make()
    with pytest.raises(InternalError) as caught:
        await actor.bug()
    assert caught.value.error_id
    assert "secret" not in str(caught.value.as_rpc())
    assert await actor.get() == 0


async def test_a_result_that_does_not_fit_its_hint_fails_the_turn(world: World) -> None:
    """B19: the caller gets an error, nothing is kept, the actor stays usable."""
    actor = await world.make()
    with pytest.raises(InternalError):
        await actor.wrong_result()
    assert await actor.add(1) == 1


async def test_an_argument_that_does_not_fit_never_reaches_the_actor(world: World) -> None:
    """B19: the sender learns it, with the path."""
    actor = await world.make()
    with pytest.raises(InvalidParams):
        await actor.add("many")
    with pytest.raises(InvalidParams):
        await actor.add(object())
    assert await actor.add(1) == 1


async def test_arguments_and_results_cross_by_value(world: World) -> None:
    """B16: changes after sending are not seen by the other side."""
    actor = await world.make()
    mine = ["a"]
    got = await actor.keep(mine)
    assert mine == ["a"]
    assert got == ["a", "mine"]
    kept = next(item for item in Probe.log if isinstance(item, list))
    kept.append("later")
    assert got == ["a", "mine"]


async def test_a_thousand_bad_messages_do_no_harm(world: World) -> None:
    """B23: the next good one succeeds."""
    actor = await world.make()
    answers = await asyncio.gather(*[actor.bug() for _ in range(900)], return_exceptions=True)
    assert all(isinstance(answer, InternalError) for answer in answers)
    assert await actor.add(1) == 1


async def test_a_cycle_of_asks_is_an_immediate_error_that_names_it(world: World) -> None:
    """B12: A → B → A."""
    one, other = await world.make(), await world.make()
    began = time.monotonic()
    with pytest.raises(DeadlockError) as caught:
        await one.ask_other(other.key, one.key)
    assert time.monotonic() - began < 2.0
    assert caught.value.cycle[0] == caught.value.cycle[-1]
    assert any(one.key in part for part in caught.value.cycle)
    assert await one.add(1) == 1


async def test_asking_oneself_through_a_ref_is_a_deadlock(world: World) -> None:
    """B12: the shortest cycle."""
    one = await world.make()
    with pytest.raises(DeadlockError):
        await one.ask_other(one.key)


async def test_a_plain_call_on_self_runs_inline(world: World) -> None:
    actor = await world.make()
    assert await actor.inline() == 2


async def test_a_tell_returns_at_once_and_hides_the_targets_error(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """B22: the error is logged."""
    actor = await world.make()
    actor.bug.tell()
    assert await actor.add(1) == 1
    assert any("tell" in record.message for record in caplog.records)


async def test_a_tell_of_a_failed_turn_never_leaves(world: World) -> None:
    """B34, B61: what a turn sends goes with its fate."""
    one, other = await world.make(), await world.make()
    with pytest.raises(Rejected):
        await one.tell_other(other.key, then_fail=True)
    await one.tell_other(other.key)
    await eventually(lambda: world.activation(other) is not None, "the tell arrives")
    assert await other.get() == 1


async def test_blocking_messages_run_side_by_side(world: World) -> None:
    """B17: up to the limit of threads, not one after another."""
    actors = [await world.make() for _ in range(16)]
    began = time.monotonic()
    assert await asyncio.gather(*[actor.blocking(1, 0.05) for actor in actors]) == [1] * 16
    assert time.monotonic() - began < 16 * 0.05


async def test_a_blocking_message_after_unfinished_async_turns_loses_nothing(world: World) -> None:
    """B72: it runs after them, on what they stored."""
    actor = await world.make()
    calls = [asyncio.ensure_future(actor.add(1)) for _ in range(10)]
    calls.append(asyncio.ensure_future(actor.blocking(100)))
    calls += [asyncio.ensure_future(actor.add(1)) for _ in range(10)]
    results = await asyncio.gather(*calls)
    assert results[9] == 10
    assert results[10] == 110
    assert results[-1] == 120


async def test_a_handlers_own_timeout_is_its_own(world: World) -> None:
    """B79: asyncio.timeout and task groups work inside a turn."""
    actor = await world.make()
    assert await actor.own_timeout() == "timed out"
    assert await actor.groups() == 3
    assert await actor.add(1) == 1


async def test_a_task_left_behind_has_no_turn(world: World) -> None:
    """B79: it affects nobody else."""
    actor = await world.make()
    await actor.leave_task()
    Probe.gate("later").set()
    await eventually(lambda: ("later", "<no current turn>") in Probe.log, "the task went on by itself")


async def test_keys_never_mix(world: World) -> None:
    """B7: keys that differ in type, case or form are different actors, or refused."""
    if world.persistent:
        with pytest.raises(InvalidParams):
            ref(Tally, "07")
        with pytest.raises(InvalidParams):
            ref(Tally, "٧")
        assert ref(Tally, 7) == ref(Tally, "7")
        for known in (7, "7"):  # good keys are remembered; others that look or hash like them are judged as ever
            for other in ("07", "٧", f"{known} ", [7], {}, 2**63):
                assert ref(Tally, known).key == "7"  # type: ignore[attr-defined]
                with pytest.raises(InvalidParams):
                    ref(Tally, other)
    else:
        assert world.node is not None
        assert await ref(Scratch, "a").add(1) == 1
        assert await ref(Scratch, "A").add(1) == 1
        assert await ref(Scratch, "é").add(1) == 1
        assert await ref(Scratch, "e\u0301").add(1) == 1
        assert await ref(Scratch, "x" * 255).add(1) == 1
        with pytest.raises(InvalidParams):
            ref(Scratch, "x" * 256)


def test_a_ref_has_no_state() -> None:
    """9.17: anything but a message raises and says why."""
    with pytest.raises(AttributeError, match="no state"):
        _ = ref(Tally, 1).count


async def test_sync_on_the_event_loop_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="Await"):
        world.ref("1").add.sync(1)


async def test_a_tell_stays_ahead_of_the_ask_that_follows_it(world: World) -> None:
    """B9: one sender, one actor, in the order sent."""
    actor = await world.make()
    actor.record.tell(1)
    await actor.record(2)
    assert [item for item in Probe.log if isinstance(item, int)] == [1, 2]
