"""Calls that are sent again, and tells that arrive."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from typing import Any

import pytest

from lightmoon_django import operations
from lightmoon_django.errors import (
    Cancelled,
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    Rejected,
)
from lightmoon_django.host import host
from lightmoon_django.models import Answer, Outgoing
from lightmoon_django.persistence.store import Locked, Unsettled
from lightmoon_django.runtime import recovery
from tests.live.models import Probe
from tests.runtime.conftest import PATIENCE, World, eventually


async def test_the_same_call_id_runs_once(world: World) -> None:
    """B50: one after the other, and at once."""
    actor = await world.make()
    call = actor.add.options(call_id="a")
    assert await asyncio.gather(*[call(1) for _ in range(20)]) == [1] * 20
    assert await call(1) == 1
    assert await actor.add.options(call_id="b")(1) == 2
    assert await actor.get() == 2


async def test_the_same_call_id_for_another_call_is_refused(world: World) -> None:
    """B50, B80: other arguments, or another message; also while the first one runs."""
    actor = await world.make()
    await actor.add.options(call_id="a")(1)
    with pytest.raises(InvalidRequest):
        await actor.add.options(call_id="a")(2)
    with pytest.raises(InvalidRequest):
        await actor.note.options(call_id="a")("x")
    holding = asyncio.ensure_future(actor.hold.options(call_id="h")("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    with pytest.raises(InvalidRequest):
        await actor.hold.options(call_id="h")("g", 2)
    Probe.gate("g").set()
    assert await holding == 2


async def test_so_many_answers_are_kept_and_of_once_messages_all(stored: World) -> None:
    """B50: the last 64 of an actor in memory."""
    actor = await stored.make(count=100)
    for message, forgets in ((actor.add, True), (actor.pay, False)):
        for number in range(65):
            await message.options(call_id=f"{number} {forgets}")(1)
        before = await actor.get()
        await message.options(call_id=f"64 {forgets}")(1)
        assert await actor.get() == before
        await message.options(call_id=f"0 {forgets}")(1)
        assert await actor.get() == before + forgets


async def test_a_call_that_failed_runs_again(world: World) -> None:
    """B50: an error is no answer to keep."""
    actor = await world.make()
    for _ in range(2):
        with pytest.raises(Rejected):
            await actor.fail_after_change.options(call_id="a")()
    assert await actor.get() == 0


async def test_a_copy_takes_the_place_of_a_first_one_that_was_taken_back(world: World) -> None:
    """B50, B51: the caller went away and came back with the same id."""
    actor = await world.make()
    first = asyncio.ensure_future(actor.hold.options(call_id="a")("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    second = asyncio.ensure_future(actor.hold.options(call_id="a")("g"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises((asyncio.CancelledError, Cancelled)):
        await first
    await eventually(lambda: Probe.log.count(("holding", "g")) == 2, "the copy runs")
    Probe.gate("g").set()
    assert await second == 1
    assert await actor.get() == 1


async def test_copies_are_bounded_and_share_their_arguments(world: World, settings: object) -> None:
    """B50, B53: a client that sends the same large call on and on fills no memory with it."""
    settings.LIGHTMOON = {"MAILBOX_LIMIT": 5}  # type: ignore[attr-defined]
    actor = await world.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it is busy")
    calls = [asyncio.ensure_future(actor.note.options(call_id="a")("x" * 10_000)) for _ in range(6)]
    activation = world.activation(actor)
    await eventually(lambda: activation.mailbox and len(activation.mailbox[0].identity.copies or ()) == 5, "they wait")
    first = activation.mailbox[0]
    assert all(copy.payload is first.payload and copy.args is None for copy in first.identity.copies)
    with pytest.raises(Overloaded, match="copies"):
        await actor.note.options(call_id="a")("x" * 10_000)
    Probe.gate("g").set()
    await asyncio.gather(holding, *calls)


async def test_a_call_that_was_looked_up_when_its_activation_was_replaced_runs_in_the_next_one(world: World) -> None:
    """B50: where nothing is expected of an earlier owner any more, nothing would come to say that it may."""
    actor = await world.make()
    await actor.get()
    activation = world.activation(actor)
    assert activation is not None
    world.node.expected.add(activation.address)
    asked = asyncio.ensure_future(actor.add.options(call_id="a", timeout=5)(1))
    await eventually(lambda: activation.mailbox, "it waits")
    assert activation.mailbox[0].identity.looking  # type: ignore[union-attr]
    world.node.expected.discard(activation.address)
    recovery.lose(activation, "Somebody else changed the row.")
    assert await asked == 1


async def test_a_once_call_is_answered_from_the_database(stored: World) -> None:
    """B50: after the actor has left memory, and by another node."""
    actor = await stored.make()
    pay = actor.pay.options(call_id="order-1")
    assert await pay(5) == 5
    stored.node.catalog.deactivate(stored.activation(actor))
    await eventually(lambda: stored.activation(actor) is None, "it is gone")
    assert await pay(5) == 5
    assert Probe.log.count(("pay", 5)) == 1
    await host.shut_down()
    assert stored.node is not None  # another incarnation
    assert await pay(5) == 5
    with pytest.raises(InvalidRequest):
        await actor.pay.options(call_id="order-1")(6)
    assert await actor.pay.options(call_id="order-2")(1) == 6
    assert await actor.get() == 6


async def test_a_hundred_copies_of_a_once_call_run_once(stored: World) -> None:
    """B50: at once, on an actor that is not in memory; other calls go on between them."""
    actor = await stored.make()
    calls = [actor.pay.options(call_id=f"order-{n % 10}")(1) for n in range(100)]
    answers = await asyncio.gather(*calls, *[actor.add(100) for _ in range(5)])
    assert await actor.get() == 510
    for n in range(10):
        assert len({answers[i] for i in range(n, 100, 10)}) == 1
    assert await stored.db(Answer.objects.count) == 10


async def test_an_answer_is_found_that_was_stored_before_the_row_was_claimed(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B50, B31: the claim is tried again, and meanwhile the earlier owner runs the same call and dies."""
    actor = await stored.make()
    pay = actor.pay.options(call_id="a")
    assert await pay(5) == 5
    store = stored.activation(actor).store.store
    load, find, free, asked = store.load, store.find, threading.Event(), threading.Event()
    stored.node.catalog.deactivate(stored.activation(actor))
    await eventually(lambda: stored.activation(actor) is None, "it is gone")
    answer = await stored.db(Answer.objects.get)
    await stored.db(Answer.objects.all().delete)

    def found(finds: Any) -> Any:
        asked.set()
        return find(finds)

    monkeypatch.setattr(store, "load", lambda loads: load(loads) if free.is_set() else [Locked()] * len(loads))
    monkeypatch.setattr(store, "find", found)
    repeated = asyncio.ensure_future(pay(5))
    await eventually(asked.is_set, "it is looked for")
    await eventually(lambda: stored.activation(actor).repeats._early, "it was not there, and the row isn't ours yet")
    await stored.db(lambda: answer.save(force_insert=True))
    free.set()
    assert await repeated == 5
    assert await actor.get() == 5


@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_what_waits_behind_a_call_that_is_looked_up_goes_on_without_it(
    stored: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B50-B52: it is taken back, or its deadline passes, while the database is asked for its answer."""
    actor = await stored.make()
    await actor.get()
    asked, told = threading.Event(), threading.Event()

    def slow(finds: Any) -> Any:
        asked.set()
        told.wait(PATIENCE)
        return [None] * len(finds)

    monkeypatch.setattr(stored.activation(actor).store.store, "find", slow)
    first = asyncio.ensure_future(actor.pay.options(call_id="a", timeout=10.0 if how == "cancelled" else 0.1)(1))
    await eventually(asked.is_set, "the database is asked")
    second = asyncio.ensure_future(actor.get())
    await eventually(lambda: len(stored.activation(actor).mailbox) == 2, "the next call waits")
    if how == "cancelled":
        first.cancel()
    assert await asyncio.wait_for(second, PATIENCE / 2) == 0
    told.set()
    with pytest.raises((asyncio.CancelledError, DeadlineExceeded)):
        await first


async def test_a_once_call_that_fails_to_be_stored_keeps_no_answer(stored: World) -> None:
    """B50, B26: the answer is in the same commit."""
    actor = await stored.make(count=10)
    with pytest.raises(InternalError):
        await actor.pay.options(call_id="a")(3)  # 13 violates the constraint
    assert await stored.db(Answer.objects.count) == 0
    await actor.add(5)
    assert await actor.pay.options(call_id="a")(3) == 18


async def test_a_blocking_once_call_stores_its_answer_too(stored: World) -> None:
    """B50: in its own transaction."""
    actor = await stored.make()
    assert await actor.pay_blocking.options(call_id="a")(3) == 3
    stored.node.catalog.deactivate(stored.activation(actor))
    await eventually(lambda: stored.activation(actor) is None, "it is gone")
    assert await actor.pay_blocking.options(call_id="a")(3) == 3
    assert await actor.get() == 3


async def test_a_once_call_without_an_id_is_an_ordinary_one(stored: World) -> None:
    actor = await stored.make()
    assert [await actor.pay(1), await actor.pay(1)] == [1, 2]
    assert await stored.db(Answer.objects.count) == 0


async def all_delivered(world: World) -> None:
    """Until no durable tell is left."""
    until = time.monotonic() + PATIENCE
    while await world.db(Outgoing.objects.exists):
        assert time.monotonic() < until, "a tell was not confirmed"


async def test_a_durable_tell_leaves_with_its_turn_and_arrives_once(stored: World) -> None:
    """B34, B50: a failed turn leaves no row; a kept one is delivered, and its row goes."""
    one, other = await stored.make(), await stored.make()
    with pytest.raises(Rejected):
        await one.send_pay(other.key, 5, fail=True)
    assert await stored.db(Outgoing.objects.count) == 0
    await one.send_pay(other.key, 5)
    await eventually(lambda: ("pay", 5) in Probe.log, "it arrives")
    assert await other.get() == 5

    await all_delivered(stored)
    assert Probe.log.count(("pay", 5)) == 1


async def redeliver(world: World, now: int) -> list[Any]:
    """Claim what is due and deliver it, as the node does by itself."""
    queue = world.node.store_of(world.node.find(next(iter(world.node.catalog)).address).schema)
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    queue.query(lambda store: store.due(now, now + 10**9, 100), found.set_result)
    due = await found
    assert not isinstance(due, Exception), due
    for one in due:
        world.node.outgoing.deliver(one, queue)
    return list(due)


async def test_a_durable_tell_is_sent_again_after_a_crash_and_processed_once(stored: World) -> None:
    """B50, B42: the row is there when the first delivery was not confirmed; the copy finds the first one's answer."""
    one, other = await stored.make(), await stored.make()
    await one.send_pay(other.key, 7)
    await eventually(lambda: ("pay", 7) in Probe.log, "it arrives")
    await other.get()
    await all_delivered(stored)
    answer = await stored.db(Answer.objects.get)
    row = Outgoing(
        id=answer.id,
        actor="live.Tally",
        key=other.key,
        message="pay",
        payload=b"\x91\x07",
        caller=f"live.Tally:{one.key}",
        wake_at=0,
    )
    await stored.db(row.save)  # as if the confirmation had been lost
    later = 4 * 10**15  # microseconds
    assert len(await redeliver(stored, later)) == 1
    await all_delivered(stored)
    assert await other.get() == 7
    assert Probe.log.count(("pay", 7)) == 1


async def test_a_durable_tell_whose_outcome_is_unknown_is_sent_again(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B35, B50: the connection breaks as the receiver's turn is stored, and nothing of it is."""
    one, other = await stored.make(), await stored.make()
    await other.get()
    store: Any = stored.activation(other).store.store  # type: ignore[union-attr]
    commit, broken = store.commit, threading.Event()

    def break_once(writes: Any) -> Any:
        if broken.is_set() or not any(write.key == other.key for write in writes):
            return commit(writes)
        broken.set()
        return [Unsettled(OSError("connection reset"))] * len(writes)

    monkeypatch.setattr(store, "commit", break_once)
    await one.send_pay(other.key, 5)
    await eventually(broken.is_set, "it arrives")
    await eventually(lambda: stored.node.idle, "it has ended")
    assert await other.get() == 0
    assert len(await redeliver(stored, 4 * 10**15)) == 1
    await all_delivered(stored)
    assert await other.get() == 5


async def test_durable_tells_to_a_paused_actor_wait_until_it_is_resumed(stored: World) -> None:
    """Operations: also those that are sent meanwhile; calls go on."""
    one, other = await stored.make(), await stored.make()
    await other.get()
    await stored.db(operations.pause, other)
    await eventually(lambda: stored.node.reminders.holds_back("live.Tally", other.key), "the node has heard of it")
    await one.send_pay(other.key, 5)
    await eventually(lambda: stored.node.idle, "all has been sent")
    assert await other.get() == 0
    assert await stored.db(Outgoing.objects.count) == 1
    await stored.db(operations.resume, other)
    await all_delivered(stored)
    assert await other.get() == 5


async def test_a_durable_tell_of_a_message_that_is_unknown_here_is_tried_again(stored: World, settings: Any) -> None:
    """B48, B50: the other processes may be newer than this one; in the end it is a dead letter."""
    settings.LIGHTMOON = {"DEAD_LETTER_ATTEMPTS": 2}
    actor = await stored.make()
    await actor.get()
    row = Outgoing(id=uuid.uuid4(), actor="live.Tally", key=actor.key, message="renamed", payload=b"\x90", wake_at=0)
    await stored.db(row.save)
    later = 4 * 10**15  # microseconds
    for attempt in range(2):
        assert len(await redeliver(stored, later + attempt * 2 * 10**9)) == 1
        await eventually(lambda: stored.node.idle, "it is noted")
        assert "renamed" in (await stored.db(Outgoing.objects.get)).last_error
    assert len(await redeliver(stored, later + 4 * 10**9)) == 1
    (letter,) = await until_buried(stored, actor)
    assert letter.message == "renamed"


async def test_a_durable_tell_of_an_unknown_outcome_is_sent_again(
    stored: World, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """B42, B50: at its deadline nobody knows whether the receiver's turn is stored; later it isn't."""
    settings.LIGHTMOON = {"CALL_TIMEOUT": 0.3}
    one, other = await stored.make(), await stored.make(count=10)
    assert await other.get() == 10
    receiver = stored.activation(other)
    assert receiver is not None
    assert receiver.store is not None
    store, goes_on = receiver.store.store, threading.Event()
    real = store.commit

    def commit(writes: Any) -> Any:
        if any(write.key == other.key for write in writes):
            goes_on.wait(PATIENCE)
        return real(writes)

    monkeypatch.setattr(store, "commit", commit)
    await one.send_pay(other.key, 3)  # 13 violates a constraint: it can never be stored
    await eventually(lambda: "The deadline passed while the turn was being stored" in caplog.text, "it is late")
    goes_on.set()
    await other.get()
    assert len(await redeliver(stored, 4 * 10**15)) == 1
    await eventually(lambda: Probe.log.count(("pay", 3)) == 2, "it arrives again")


async def test_a_tell_that_always_fails_becomes_a_dead_letter(
    stored: World, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """B24: after a number of attempts, with its arguments and error; the receiver goes on, and it can be replayed."""
    settings.LIGHTMOON = {"DEAD_LETTER_ATTEMPTS": 2}
    one, other = await stored.make(), await stored.make(count=10)
    await one.send_pay(other.key, 3)  # 13 violates a constraint: it can never be stored
    await eventually(lambda: ("pay", 3) in Probe.log, "it arrives")
    await other.get()
    later = 4 * 10**15  # microseconds
    for attempt in (1, 2, 3):
        assert len(await redeliver(stored, later + attempt * 2 * 10**9)) == 1
        await other.get()
    letters = await until_buried(stored, other)
    assert [(one.what, one.message, one.attempts) for one in letters] == [("tell", "pay", 3)]
    assert "live_unlucky" in letters[0].error
    assert letters[0].arguments == [3]
    logged = [one for one in caplog.records if getattr(one, "action", "") == "dead_letter"]
    assert [one.levelname for one in logged] == ["ERROR"]
    assert not await stored.db(Outgoing.objects.exists)
    assert await other.add(1) == 11
    await stored.db(operations.replay, letters[0])
    assert len(await redeliver(stored, later + 10**10)) == 1
    await eventually(lambda: Probe.log.count(("pay", 3)) >= 4, "it is tried again")
    assert await other.get() == 14


async def until_buried(world: World, actor: Any) -> list[Any]:
    until = time.monotonic() + PATIENCE
    while not (found := await world.db(operations.dead_letters, actor)):
        assert time.monotonic() < until, "no dead letter"
    return found


async def test_a_copy_waits_no_longer_than_its_own_deadline(world: World) -> None:
    """B40, B50: however long the first one has."""
    actor = await world.make()
    first = asyncio.ensure_future(actor.hold.options(call_id="a")("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(actor.hold.options(call_id="a", timeout=0.2)("g"), PATIENCE / 2)
    Probe.gate("g").set()
    assert await first == 1
