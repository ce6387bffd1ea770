"""What is stored, when, and what becomes of turns whose commit fails."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from django.db import connection, connections, transaction

from lightmoon_django.actor import registry
from lightmoon_django.errors import ActorNotFound, Conflict, InternalError, LightMoonError, Rejected, UsageError
from tests.live.models import Log, Probe, Tally
from tests.runtime.conftest import World, eventually


class Listener:
    """A subscriber that keeps what it hears."""

    def __init__(self) -> None:
        self.id = "listener"
        self.frames: list[str] = []
        self.resets: list[str] = []

    def push(self, frame: str) -> None:
        self.frames.append(frame)

    def reset(self, address: object, reason: str) -> None:
        self.resets.append(reason)


async def listen(world: World, actor: Any) -> Listener:
    """Subscribe to an actor's stream."""
    listener = Listener()
    await actor.get()
    activation = world.activation(actor)
    assert activation is not None
    activation.stream.subscribers[listener.id] = listener
    return listener


async def test_an_answer_means_stored(stored: World) -> None:
    """B25: what was answered is in the database."""
    actor = await stored.make()
    assert await actor.add(7) == 7
    assert (await stored.stored(actor.key)).count == 7


async def test_a_constraint_fails_only_its_own_turn(stored: World) -> None:
    """B26, B33: among many turns of one actor and others; no event of it escapes, and memory is what is stored."""
    actor, other = await stored.make(count=10), await stored.make(count=10)
    listener = await listen(stored, actor)
    calls = [actor.add(1), actor.add(1), actor.add(1), other.add(1)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[0:2] == [11, 12]
    assert isinstance(answers[2], InternalError)  # 13 violates the constraint
    assert answers[3] == 11
    assert await actor.get() == 12
    assert await actor.add(5) == 17
    assert (await stored.stored(actor.key)).count == 17
    events = [frame for frame in listener.frames if "lm.event" in frame]
    assert len(events) == 3
    assert not any('"count":13' in frame for frame in listener.frames)


async def test_a_turn_that_changed_nothing_writes_nothing(stored: World) -> None:
    """B32: neither do read-only turns."""
    actor = await stored.make(count=1)
    await actor.get()
    version = stored.activation(actor).version  # type: ignore[union-attr]
    await actor.add(0)
    await actor.get()
    assert stored.activation(actor).version == version  # type: ignore[union-attr]


async def test_an_outside_save_is_seen_by_the_next_turn(stored: World) -> None:
    """B29: and never overwritten."""
    actor = await stored.make(count=1)
    other = await stored.make(count=1)
    assert await actor.add(1) == 2
    assert await other.add(1) == 2
    kept = stored.activation(other)

    def save() -> None:
        row = Tally.objects.get(pk=actor.key)
        row.count = 50
        row.save()

    await stored.db(save)
    assert await actor.add(1) == 51
    assert stored.activation(other) is kept


async def test_an_outside_save_with_update_fields_is_seen_too(stored: World) -> None:
    """B29: the owner column joins whatever fields are named."""
    actor = await stored.make(count=1)
    assert await actor.add(1) == 2

    def save() -> None:
        row = Tally.objects.get(pk=actor.key)
        row.count = 60
        row.save(update_fields=["count"])

    await stored.db(save)
    assert await actor.get() == 60


async def test_an_outside_delete_ends_the_actor(stored: World) -> None:
    """B29: the next call finds no such actor."""
    actor = await stored.make()
    await actor.add(1)
    await stored.db(lambda: Tally.objects.get(pk=actor.key).delete())
    with pytest.raises(ActorNotFound):
        await actor.add(1)


async def test_a_queryset_update_is_never_overwritten(stored: World) -> None:
    """B71: although no save() ran."""
    actor = await stored.make(count=1)
    assert await actor.add(1) == 2
    await stored.db(Tally.objects.filter(pk=actor.key).update, count=100)
    assert await actor.add(1) == 101
    assert (await stored.stored(actor.key)).count == 101


async def test_a_queryset_update_is_visible_within_a_second(stored: World) -> None:
    """B71: also to messages that only read."""
    actor = await stored.make(count=1)
    assert await actor.get() == 1
    await stored.db(Tally.objects.filter(pk=actor.key).update, count=100)
    began = time.monotonic()
    while await actor.get() != 100:
        assert time.monotonic() - began < 2.0, "still the old count"
        await asyncio.sleep(0)


@pytest.mark.parametrize(("step", "message"), [("commit", "add"), ("load", "get"), ("transact", "with_log")])
async def test_what_a_loop_knew_before_it_stood_still_is_old(
    stored: World, monkeypatch: Any, step: str, message: str
) -> None:
    """B71: the second counts from when the row was seen, however late that is heard of."""
    actor, other = await stored.make(count=1), await stored.make()
    await (other if step == "load" else actor).get()
    store: Any = stored.node.store_of(registry.schema_of(Tally)).store
    real, begun, seen = getattr(store, step), threading.Event(), threading.Event()

    def watched(asked: Any) -> Any:
        begun.set()
        found = real(asked)
        seen.set()
        return found

    def write() -> None:
        seen.wait(10)
        Tally.objects.filter(pk=actor.key).update(count=100)
        connections.close_all()

    monkeypatch.setattr(store, step, watched)
    call = asyncio.ensure_future(getattr(actor, message)(*(["x"] if step == "transact" else [])))
    await eventually(begun.is_set, "the store is asked")
    writer = threading.Thread(target=write)
    writer.start()
    writer.join(10)
    time.sleep(1.1)
    await call
    assert await actor.get() == 100


async def test_raw_sql_is_never_overwritten(stored: World) -> None:
    """B71: another column, so that no value of the commit could tell."""
    actor = await stored.make(count=1)
    assert await actor.add(1) == 2

    def raw() -> None:
        alias = "pg" if stored.backend == "postgresql" else "default"
        with connections[alias].cursor() as cursor:
            cursor.execute("UPDATE live_tally SET name = 'outside' WHERE id = %s", [int(actor.key)])

    await stored.db(raw)
    assert await actor.add(1) == 3
    row = await stored.stored(actor.key)
    assert (row.count, row.name) == (3, "outside")


async def test_what_a_turn_saves_is_stored_with_it(stored: World) -> None:
    """B30: both or none."""
    actor = await stored.make()
    with pytest.raises(Rejected):
        await actor.with_log("lost", fail=True)
    assert await stored.logs() == 0
    await actor.with_log("kept")
    assert await stored.logs() == 1
    assert (await stored.stored(actor.key)).count == 1


async def test_what_an_async_message_writes_by_itself_stays(stored: World) -> None:
    """9.16: it is no part of the turn, as docs/guarantees.md says."""
    actor = await stored.make()
    with pytest.raises(Rejected, match="After 1"):
        await actor.write_by_itself("stray")
    assert await stored.logs() == 1


async def test_under_debug_an_async_message_can_not_write_by_itself(stored: World, settings: Any) -> None:
    """9.16: and hears what to do instead, which works."""
    settings.DEBUG = True
    await stored.db(connections.close_all)  # they are watched from when they are opened
    actor = await stored.make()
    with pytest.raises(InternalError) as caught:
        await actor.write_by_itself("stray")
    assert "turn.save(obj)" in str(caught.value.detail)
    assert await stored.logs() == 0
    await actor.with_log("in its commit")
    assert await actor.write_log("in its transaction") == 2
    with pytest.raises(Rejected):
        await actor.with_log("undone", fail=True)
    assert await stored.logs() == 2


async def test_a_blocking_message_shares_its_transaction_with_the_orm(stored: World) -> None:
    """B30, B72: an exception undoes both."""
    actor = await stored.make()
    with pytest.raises(Rejected):
        await actor.write_log("lost", fail=True)
    assert await stored.logs() == 0
    assert await actor.write_log("kept") == 1
    assert await actor.get() == 1
    assert (await stored.stored(actor.key)).count == 1


async def test_a_failing_save_beside_the_actor_undoes_the_turn(stored: World) -> None:
    """B30: the other row can't be stored."""
    if stored.backend == "sqlite":
        pytest.skip("SQLite does not refuse long texts.")
    actor = await stored.make()
    with pytest.raises(InternalError):
        await actor.with_log("x" * 500)
    assert await actor.get() == 0
    assert await stored.logs() == 0


@pytest.mark.parametrize("bad", ["nul\x00", "x" * 21])
async def test_a_value_that_no_column_holds_fails_its_own_turn(stored: World, bad: str) -> None:
    """B74: the others of the group commit."""
    actors = [await stored.make() for _ in range(20)]
    calls = [actor.add(1) for actor in actors]
    calls.insert(10, actors[3].rename(bad))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers.pop(10), LightMoonError)
    assert answers == [1] * 20
    assert (await stored.stored(actors[3].key)).name == ""


async def test_a_lone_surrogate_is_refused(stored: World) -> None:
    """B74: before it reaches anybody."""
    actor = await stored.make()
    with pytest.raises(LightMoonError):
        await actor.rename("\ud800")
    assert await actor.add(1) == 1


async def test_saving_itself_inside_a_turn_is_an_error_with_a_hint(stored: World, caplog: Any) -> None:
    actor = await stored.make()
    with pytest.raises(InternalError):
        await actor.save_itself()
    assert "stored with the turn" in caplog.text


async def test_a_locked_row_delays_only_its_own_actor(stored: World) -> None:
    """B70: an outside transaction holds one row; everybody else commits."""
    if stored.backend == "sqlite":
        pytest.skip("SQLite locks the whole file: see the test of ordinary writers.")
    locked, free = await stored.make(count=100), await stored.make(count=100)
    await asyncio.gather(locked.add(1), free.add(1))
    taken, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic(using="pg"):
            Tally.objects.using("pg").select_for_update().get(pk=locked.key)
            taken.set()
            let_go.wait(30)
        connections["pg"].close()

    thread = threading.Thread(target=hold)
    thread.start()
    await asyncio.to_thread(taken.wait, 10)
    waiting = asyncio.ensure_future(locked.add(1))
    assert [await free.add(1) for _ in range(20)] == list(range(102, 122))
    assert not waiting.done()
    let_go.set()
    assert await waiting == 102
    await asyncio.to_thread(thread.join)


async def test_sync_inside_an_open_transaction_is_refused(stored: World) -> None:
    """B77: at once, and it says what to do."""
    actor = await stored.make()

    def ask() -> None:
        with transaction.atomic():
            actor.add.sync(1)

    with pytest.raises(UsageError, match="on_commit"):
        await asyncio.to_thread(ask)


async def test_sync_inside_a_transaction_that_holds_no_actor_is_an_option(stored: World) -> None:
    """B77: it is the caller's word; the two commit independently."""
    if stored.backend == "sqlite":
        pytest.skip("Its transactions take the one write lock at once, as `check` asks them to.")
    actor = await stored.make()

    def ask() -> Any:
        try:
            with transaction.atomic("pg"):
                Log.objects.using("pg").create(text="x")
                return actor.add.options(in_transaction=True).sync(1)
        finally:
            connections["pg"].close()

    assert await asyncio.to_thread(ask) == 1
    assert await stored.logs() == 1


async def test_a_tell_inside_a_transaction_leaves_after_the_commit(stored: World) -> None:
    """B77: and not at all after a rollback."""
    actor = await stored.make()

    def tell(fail: bool) -> None:
        try:
            with transaction.atomic():
                actor.add.tell(1)
                assert Probe.log.count(("activate", actor.key)) == 0
                if fail:
                    raise Rejected("Undone.")
        finally:
            connection.close()

    with pytest.raises(Rejected):
        await asyncio.to_thread(tell, True)
    await asyncio.to_thread(tell, False)
    await eventually(lambda: stored.activation(actor) is not None, "the tell arrives")
    assert await actor.get() == 1


async def test_ordinary_writers_get_through_under_full_load(stored: World) -> None:
    """B76: a busy store starves nobody."""
    actors = [await stored.make(count=100) for _ in range(20)]
    stop = False

    async def busy(actor: Any) -> int:
        done = 0
        while not stop:
            await actor.add(1)
            done += 1
        return done

    load = [asyncio.ensure_future(busy(actor)) for actor in actors]
    for i in range(30):
        await stored.db(Log.objects.create, text=str(i))
    stop = True
    done = await asyncio.gather(*load)
    assert await stored.logs() == 30
    assert [(await stored.stored(actor.key)).count - 100 for actor in actors] == done


async def test_a_turn_on_lost_ground_runs_again_or_says_so(stored: World) -> None:
    """B29: a turn that raced with an outside write never overwrites it."""
    actor = await stored.make()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    await stored.db(Tally.objects.filter(pk=actor.key).update, count=500)
    Probe.gate("g").set()
    with pytest.raises(Conflict):
        await holding
    assert await actor.get() == 500
