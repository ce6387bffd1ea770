"""What every store promises of records that are stored with a turn, on memory, SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connections

from lightmoon_django.models import Reminder
from lightmoon_django.persistence.orm import OrmStore
from lightmoon_django.persistence.records import (
    Answer,
    Due,
    DueReminder,
    DueTell,
    Find,
    Outgoing,
    ReminderChange,
    Schedule,
    StaleReminder,
)
from lightmoon_django.persistence.settling import settle
from lightmoon_django.persistence.store import Committed, Failed, Locked, Lost, Missing, Unsettled
from tests.app.models import Audited, Counter, Restaurant
from tests.persistence.test_barriers import adder, payments
from tests.persistence.world import Activation, Node, RowHolder, World

COUNTER = "testapp.Counter"
OTHER = str(10**15)  # the key of a counter that no test inserts
FAR = 2**60  # microseconds; beyond any clock that the tests meet
NOW = 1_000_000
UNTIL = NOW + 500
GONE = ConnectionError("the line went dead")


def schedule(generation: int = 1, due_at: int = NOW, **more: Any) -> Schedule:
    return Schedule(generation=generation, message="ring", payload=b'["\\u00e4\x00"]', due_at=due_at, **more)


def setting(name: str = "alarm", generation: int = 1, *, expect: int | None = None, **more: Any) -> ReminderChange:
    return ReminderChange(name=name, schedule=schedule(generation, **more), expect=expect)


def removal(name: str = "alarm", *, expect: int | None = None) -> ReminderChange:
    return ReminderChange(name=name, schedule=None, expect=expect)


def answer(id: bytes | None = None, payload: bytes = b"1", expires_at: int = FAR) -> Answer:
    return Answer(
        id=id or os.urandom(16), fingerprint=b'\x00"\\' + os.urandom(13), payload=payload, expires_at=expires_at
    )


def tell(id: bytes | None = None, wake_at: int = NOW, **more: Any) -> Outgoing:
    given = {"actor": COUNTER, "key": OTHER, "message": "add", "payload": b"[1]", "caller": f"{COUNTER}:1", **more}
    return Outgoing(id=id or os.urandom(16), wake_at=wake_at, **given)


def activate(world: World, count: int = 1) -> list[Activation]:
    return world.node().activate(Counter, *[world.insert(Counter) for _ in range(count)])


def keep(one: Activation, *records: Any, **values: Any) -> Any:
    return one.settle(one.node.commit(one.record(*records, **values))[0])


def find(node: Node, *ids: bytes) -> list[Any]:
    return node.run(lambda: node.store.find([Find(id) for id in ids]))


def due(node: Node, now: int = NOW, until: int = UNTIL, limit: int = 100) -> list[Due]:
    found: list[Due] = node.run(lambda: node.store.due(now, until, limit))
    return found


def only(found: list[Due]) -> Due:
    assert len(found) == 1, found
    return found[0]


def generations(world: World) -> dict[str, int]:
    return {name: generation for _, _, name, generation, *_ in world.waiting()}


# With a write.


def test_records_are_stored_with_the_changes(world: World) -> None:
    """B34."""
    (counter,) = activate(world)
    kept, sent = answer(), tell()
    assert isinstance(keep(counter, setting(), kept, sent, count=5), Committed)
    assert world.stored(Counter, counter.key).count == 5
    assert [row[:3] for row in world.waiting()] == sorted([(COUNTER, counter.key, "alarm"), (COUNTER, OTHER, "add")])
    assert find(counter.node, kept.id) == [kept]
    assert isinstance(keep(counter, count=6), Committed)


def test_records_are_stored_without_changes(world: World) -> None:
    """§9.5."""
    (counter,) = activate(world)
    kept = answer()
    assert isinstance(keep(counter, setting(), kept), Committed)
    assert generations(world) == {"alarm": 1}
    assert find(counter.node, kept.id) == [kept]
    assert isinstance(keep(counter, count=6), Committed)


@pytest.mark.parametrize("values", [{}, {"count": 5}])
def test_a_node_that_lost_the_row_stores_no_record(world: World, values: dict[str, Any]) -> None:
    """B73: neither with changes nor without, and the others of its group store theirs."""
    lost, other = activate(world, 2)
    world.update(Counter, lost.key, lightmoon_owner=None)
    first, second = answer(), answer()
    outcomes = lost.node.commit(
        lost.record(setting("lost"), first, tell(), **values), other.record(setting("other"), second, **values)
    )
    assert [type(one) for one in outcomes] == [Lost, Committed]
    assert generations(world) == {"other": 1}
    assert world.answers() == {second.id}


def test_a_row_that_its_own_connection_gave_back_stores_no_record(world: World) -> None:
    """B73: on SQLite the store's own writes don't show as somebody else's."""
    (counter,) = activate(world)
    counter.node.disown(counter)
    assert keep(counter, setting(), answer()) == Lost()
    assert (world.waiting(), world.answers()) == ([], set())


def test_an_outside_write_keeps_records_out(world: World) -> None:
    """B71."""
    (counter,) = activate(world)
    world.update(Counter, counter.key, note="outside")
    assert keep(counter, setting(), answer()) == Lost()
    assert (world.waiting(), world.answers()) == ([], set())


def test_a_deleted_row_keeps_records_out(world: World) -> None:
    """B29."""
    (counter,) = activate(world)
    world.delete(Counter, counter.key)
    assert keep(counter, setting(), answer(), count=1) in (Missing(), Lost())
    assert (world.waiting(), world.answers()) == ([], set())


def test_a_locked_row_keeps_records_out(postgresql: World) -> None:
    """B70."""
    one, other = activate(postgresql, 2)
    with RowHolder(postgresql, Counter, one.key):
        outcomes = one.node.commit(one.record(setting("one"), answer()), other.record(setting("other"), count=1))
    assert [type(outcome) for outcome in outcomes] == [Locked, Committed]
    assert generations(postgresql) == {"other": 1}
    assert postgresql.answers() == set()


def test_a_write_that_fails_stores_no_record(database: World) -> None:
    """B34: its constraint is violated, in a group with a good one."""
    bad, good = activate(database, 2)
    outcomes = bad.node.commit(bad.record(setting("bad"), answer(), count=13), good.record(setting("good"), count=1))
    assert [type(outcome) for outcome in outcomes] == [Failed, Committed]
    assert generations(database) == {"good": 1}
    assert database.answers() == set()


def test_records_of_an_inherited_row_are_stored(database: World) -> None:
    (restaurant,) = database.node().activate(Restaurant, database.insert(Restaurant, name="a"))
    kept = answer()
    assert isinstance(keep(restaurant, setting(), kept), Committed)
    assert find(restaurant.node, kept.id) == [kept]
    assert generations(database) == {"alarm": 1}


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_a_group_stores_all_its_records(world: World, count: int) -> None:
    counters = activate(world, count)
    writes = [
        one.record(setting(generation=i), answer(bytes(15) + bytes([i])), tell(message=f"m{i}"), count=1000 + i)
        for i, one in enumerate(counters)
    ]
    outcomes = counters[0].node.commit(*writes)
    assert {type(outcome) for outcome in outcomes} == {Committed}
    assert len(world.waiting()) == 2 * count
    assert len(world.answers()) == count
    assert {row[3] for row in world.waiting() if row[2] == "alarm"} == set(range(count))


# Reminders.


def test_a_reminder_is_replaced_by_name(world: World) -> None:
    one, other = activate(world, 2)
    keep(one, setting("a", 1), setting("b", 2))
    keep(other, setting("a", 3))
    keep(one, setting("a", 4, due_at=NOW + 7))
    assert [row[1:5] for row in world.waiting()] == sorted(
        [(one.key, "a", 4, NOW + 7), (one.key, "b", 2, NOW), (other.key, "a", 3, NOW)]
    )


def test_a_reminder_is_taken_away_by_name(world: World) -> None:
    one, other = activate(world, 2)
    keep(one, setting("a"), setting("b"))
    keep(other, setting("a"))
    keep(one, removal("a"), removal("never set"))
    assert [row[1:3] for row in world.waiting()] == sorted([(one.key, "b"), (other.key, "a")])


def test_everything_about_a_reminder_comes_back(world: World) -> None:
    (counter,) = activate(world)
    full = schedule(7, NOW - 1, period=60_000_000, cron="*/5 * * * *", catch_up="all", user="ü")
    keep(counter, ReminderChange(name='a"{}\\ä', schedule=full))
    expected = DueReminder(actor=COUNTER, key=counter.key, name='a"{}\\ä', schedule=full, attempts=1)
    assert due(counter.node) == [expected]


def test_an_expected_generation_is_replaced_or_ended(world: World) -> None:
    """B49."""
    (counter,) = activate(world)
    keep(counter, setting("a", 1), setting("b", 2))
    assert isinstance(keep(counter, setting("a", 3, expect=1), removal("b", expect=2), count=1), Committed)
    assert generations(world) == {"a": 3}


@pytest.mark.parametrize("change", [setting("a", 9, expect=5), removal("a", expect=5)])
@pytest.mark.parametrize("stored", [[], [setting("a", 1)]])
def test_a_stale_firing_leaves_no_trace(world: World, change: ReminderChange, stored: list[ReminderChange]) -> None:
    """B49: it was cancelled, or set anew."""
    (counter,) = activate(world)
    keep(counter, *stored)
    (outcome,) = counter.node.commit(counter.record(change, setting("b"), answer(), tell(), count=5))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, StaleReminder)
    assert world.stored(Counter, counter.key).count == 0
    assert generations(world) == {one.name: 1 for one in stored}
    assert world.answers() == set()


def test_one_stale_firing_in_a_group_fails_alone(world: World) -> None:
    """B49."""
    counters = activate(world, 50)
    assert {type(one) for one in counters[0].node.commit(*[one.record(setting("a", 1)) for one in counters])} == {
        Committed
    }
    writes = [one.record(setting("a", 2, expect=7 if i == 30 else 1), count=1) for i, one in enumerate(counters)]
    outcomes = counters[0].node.commit(*writes)
    assert [i for i, one in enumerate(outcomes) if not isinstance(one, Committed)] == [30]
    assert isinstance(outcomes[30].error, StaleReminder)
    assert sorted(row[3] for row in world.waiting()) == [1] + [2] * 49
    assert sum(world.stored(Counter, one.key).count for one in counters) == 49


# Answers and tells.


def test_the_first_answer_stays(world: World) -> None:
    (counter,) = activate(world)
    first = answer(payload=b"first")
    keep(counter, first, answer(first.id, b"second"))
    keep(counter, answer(first.id, b"third"), count=1)
    assert find(counter.node, first.id) == [first]


def test_an_expired_answer_is_none_and_makes_room(world: World) -> None:
    """Its id may be used again before anybody has cleaned up."""
    (counter,) = activate(world)
    counter.node.store.wall_clock = lambda: NOW
    old = answer(expires_at=NOW)
    keep(counter, old)
    assert find(counter.node, old.id) == [None]
    new = answer(old.id, b"new", NOW + 1)
    keep(counter, new)
    assert find(counter.node, old.id) == [new]


def test_answers_are_found_in_the_order_asked(world: World) -> None:
    (counter,) = activate(world)
    one, other = answer(payload=b"one"), answer(payload=b"other")
    keep(counter, one, other)
    assert find(counter.node, other.id, os.urandom(16), one.id, other.id) == [other, None, one, other]
    assert find(counter.node) == []


def test_a_tell_that_is_stored_again_is_one(world: World) -> None:
    (counter,) = activate(world)
    sent = tell(user="7")
    keep(counter, sent, sent)
    keep(counter, tell(sent.id, message="other"))
    assert due(counter.node) == [DueTell(tell=sent, attempts=1)]


def test_delivered_tells_are_forgotten(world: World) -> None:
    (counter,) = activate(world)
    sent = [tell() for _ in range(3)]
    keep(counter, *sent)
    counter.node.run(lambda: counter.node.store.delivered([sent[0].id, sent[2].id, os.urandom(16)]))
    assert [one.tell.id for one in due(counter.node) if isinstance(one, DueTell)] == [sent[1].id]


# Claims.


def test_the_earliest_come_first_whatever_they_are(world: World) -> None:
    (counter,) = activate(world)
    keep(counter, setting("c", due_at=NOW - 1), setting("a", due_at=NOW - 4), setting("later", due_at=NOW + 1))
    keep(counter, tell(wake_at=NOW - 3), tell(wake_at=NOW - 2), tell(wake_at=NOW + 1))
    first, rest = due(counter.node, limit=3), due(counter.node)
    assert [type(one).__name__ for one in [*first, *rest]] == ["DueReminder", "DueTell", "DueTell", "DueReminder"]
    assert [one.name for one in [*first, *rest] if isinstance(one, DueReminder)] == ["a", "c"]
    assert due(counter.node) == []


def test_claims_of_two_stores_never_overlap(world: World) -> None:
    counters = activate(world, 20)
    counters[0].node.commit(*[one.record(setting(), tell()) for one in counters])
    other = world.node()
    found = [due(node, limit=7) for _ in range(3) for node in (counters[0].node, other)]
    names = [str(one) for some in found for one in some]
    assert len(names) == len(set(names)) == 40


def test_concurrent_claims_never_overlap(database: World) -> None:
    counters = activate(database, 250)
    counters[0].node.commit(*[one.record(setting(), tell()) for one in counters])
    nodes = [counters[0].node, database.node()]

    def claim_all(node: Node) -> list[Due]:
        found: list[Due] = []
        for _ in range(200):
            with contextlib.suppress(OperationalError):  # SQLite has one lock for all
                some = due(node, limit=20)
                found += some
                if not some:
                    break
        return found

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(claim_all, nodes)
    names = [str(due) for due in [*one, *other]]
    assert len(names) == len(set(names)) == 500


def test_rows_that_somebody_has_locked_are_passed_over(postgresql: World) -> None:
    one, other = activate(postgresql, 2)
    keep(one, setting(due_at=NOW - 1))
    keep(other, setting())
    held = str(Reminder.objects.using("pg").get(key=one.key).pk)
    with RowHolder(postgresql, Reminder, held):
        assert [found.key for found in due(one.node) if isinstance(found, DueReminder)] == [other.key]
    assert [found.key for found in due(one.node) if isinstance(found, DueReminder)] == [one.key]


def test_nothing_for_a_paused_actor_is_due_until_it_is_resumed(world: World) -> None:
    one, other = activate(world, 2)
    keep(one, setting(), tell(wake_at=NOW - 1, key=other.key))
    keep(other, setting(due_at=NOW - 2))
    node = one.node
    world.pause(COUNTER, other.key)
    world.pause("testapp.Room", one.key)
    assert node.run(node.store.next_due) == NOW
    assert [found.key for found in due(node) if isinstance(found, DueReminder)] == [one.key]
    assert node.run(node.store.next_due) == UNTIL
    world.resume(COUNTER, other.key)
    assert node.run(node.store.next_due) == NOW - 2
    assert [type(found) for found in due(node)] == [DueReminder, DueTell]


def test_a_claim_that_ends_comes_due_again(world: World) -> None:
    """B49: its node died."""
    (counter,) = activate(world)
    keep(counter, setting(), tell(wake_at=NOW - 1))
    assert [one.attempts for one in due(counter.node)] == [1, 1]
    other = world.node()
    assert due(other, UNTIL - 1) == []
    assert [one.attempts for one in due(other, UNTIL, UNTIL + 9)] == [2, 2]


def test_the_next_due_time_is_known(world: World) -> None:
    (counter,) = activate(world)
    node = counter.node
    assert node.run(node.store.next_due) is None
    keep(counter, setting(due_at=NOW - 5), tell(wake_at=NOW + 3))
    assert node.run(node.store.next_due) == NOW - 5
    due(node)
    assert node.run(node.store.next_due) == NOW + 3
    ids = [one.tell.id for one in due(node, NOW + 3) if isinstance(one, DueTell)]
    node.run(lambda: node.store.delivered(ids))
    assert node.run(node.store.next_due) == UNTIL


def test_setting_a_reminder_again_forgets_its_claims(world: World) -> None:
    (counter,) = activate(world)
    keep(counter, setting())
    claimed = only(due(counter.node))
    counter.node.run(lambda: counter.node.store.postpone(claimed, NOW, "e"))
    keep(counter, setting(generation=2, due_at=NOW - 1))
    assert world.waiting() == [(COUNTER, counter.key, "alarm", 2, NOW - 1, 0, "")]


# Postponing and burying.


def _reset(counter: Activation) -> None:
    keep(counter, setting(generation=2), tell(bytes(16)))


def _claim_again(counter: Activation) -> None:
    due(counter.node, UNTIL, UNTIL + 500)


def _remove(counter: Activation) -> None:
    keep(counter, removal())
    counter.node.run(lambda: counter.node.store.delivered([bytes(16)]))


@pytest.mark.parametrize("record", [setting(), tell(bytes(16))])
def test_what_is_postponed_comes_due_again_then(world: World, record: Any) -> None:
    (counter,) = activate(world)
    keep(counter, record)
    claimed = only(due(counter.node))
    counter.node.run(lambda: counter.node.store.postpone(claimed, NOW + 9, "Er\x00ror \ud800"))
    assert world.waiting()[0][4:] == (NOW + 9, 1, "Er\ufffdror ?")
    assert due(counter.node, NOW + 8) == []
    assert only(due(counter.node, NOW + 9)).attempts == 2


@pytest.mark.parametrize(
    ("record", "meanwhile"),
    [
        (setting(), _reset),
        (setting(), _claim_again),
        (setting(), _remove),
        (tell(bytes(16)), _claim_again),
        (tell(bytes(16)), _remove),
    ],
)
@pytest.mark.parametrize("what", ["postpone", "bury"])
def test_an_outdated_claim_changes_nothing(
    world: World, record: Any, meanwhile: Callable[[Activation], None], what: str
) -> None:
    """B49."""
    (counter,) = activate(world)
    keep(counter, record)
    claimed = only(due(counter.node))
    meanwhile(counter)
    before = world.waiting()
    store = counter.node.store
    if what == "postpone":
        counter.node.run(lambda: store.postpone(claimed, NOW + 99, "late"))
    else:
        counter.node.run(lambda: store.bury(claimed, "late", NOW + 99))
    assert world.waiting() == before
    assert world.letters() == []


def test_a_buried_one_shot_reminder_is_gone(world: World) -> None:
    (counter,) = activate(world)
    keep(counter, setting(user="3"))
    claimed = only(due(counter.node))
    counter.node.run(lambda: counter.node.store.bury(claimed, "why\x00", None))
    assert world.waiting() == []
    (letter,) = world.letters()
    assert (letter.what, letter.actor, letter.key, letter.name) == ("reminder", COUNTER, counter.key, "alarm")
    assert (letter.message, bytes(letter.payload), letter.user) == ("ring", schedule().payload, "3")
    assert (letter.error, letter.attempts, letter.caller) == ("why\ufffd", 1, "")
    assert letter.buried_at > 1_700_000_000_000_000


def test_a_buried_periodic_reminder_goes_on(world: World) -> None:
    """B49: a firing of it that is still under way has become stale."""
    (counter,) = activate(world)
    keep(counter, setting(period=60))
    claimed = only(due(counter.node))
    counter.node.run(lambda: counter.node.store.bury(claimed, "why", NOW + 60))
    assert len(world.letters()) == 1
    outcome = keep(counter, setting(generation=5, expect=1))
    assert isinstance(outcome, Failed)
    again = only(due(counter.node, NOW + 60))
    assert isinstance(again, DueReminder)
    assert (again.schedule.due_at, again.schedule.period, again.attempts) == (NOW + 60, 60, 1)


def test_a_buried_tell_is_gone(world: World) -> None:
    (counter,) = activate(world)
    keep(counter, tell(user="3"))
    claimed = only(due(counter.node))
    counter.node.run(lambda: counter.node.store.bury(claimed, "why", None))
    assert world.waiting() == []
    (letter,) = world.letters()
    assert (letter.what, letter.actor, letter.key, letter.message) == ("tell", COUNTER, OTHER, "add")
    assert (letter.caller, letter.user, bytes(letter.payload)) == (f"{COUNTER}:1", "3", b"[1]")


def test_paused_actors_are_known(world: World) -> None:
    node = world.node()
    assert node.run(node.store.paused) == set()
    world.pause(COUNTER, "1")
    world.pause("testapp.Room", "ä")
    assert node.run(node.store.paused) == {(COUNTER, "1"), ("testapp.Room", "ä")}


def test_cleaning_deletes_expired_answers_in_portions(world: World) -> None:
    (counter,) = activate(world)
    old = [answer(expires_at=NOW - i) for i in range(5)]
    fresh = [answer(expires_at=NOW + 1), answer()]
    keep(counter, *old, *fresh)
    store = counter.node.store
    assert counter.node.run(lambda: store.clean(NOW, 2)) == 2
    assert world.answers() == {one.id for one in [*old[:3], *fresh]}
    assert counter.node.run(lambda: store.clean(NOW, 1000)) == 3
    assert counter.node.run(lambda: store.clean(NOW, 1000)) == 0
    assert world.answers() == {one.id for one in fresh}


# Barrier turns.


def test_a_barrier_turn_stores_its_records(world: World) -> None:
    """B30, B34: with the rest of its transaction, or alone."""
    (counter,) = activate(world)
    kept = answer()
    assert isinstance(counter.transact(lambda _: {"records": [setting(), kept]}), Committed)
    assert generations(world) == {"alarm": 1}
    assert find(counter.node, kept.id) == [kept]
    assert isinstance(keep(counter, count=3), Committed)


def test_a_barrier_turn_through_save_stores_its_records(database: World) -> None:
    (audited,) = database.node().activate(Audited, database.insert(Audited, title="A"))

    def run(instance: Audited) -> dict[str, Any]:
        instance.title = "B C"
        return {"records": [setting(), tell(), answer()]}

    assert isinstance(audited.transact(run), Committed)
    assert database.stored(Audited, audited.key).slug == "b-c"
    assert len(database.waiting()) == 2


def test_a_barrier_turn_on_a_node_that_lost_the_row_stores_no_record(world: World) -> None:
    """B73: a turn that only sets a reminder."""
    (counter,) = activate(world)
    world.update(Counter, counter.key, note="outside")
    assert counter.transact(lambda _: {"records": [setting(), answer()]}) == Lost()
    assert (world.waiting(), world.answers()) == ([], set())


def test_a_stale_barrier_turn_leaves_no_trace(database: World) -> None:
    """B49."""
    (counter,) = activate(database)
    keep(counter, setting())

    def run(instance: Counter) -> dict[str, Any]:
        adder(database)(instance)
        return {"records": [setting("other"), setting(generation=3, expect=2)]}

    outcome = counter.transact(run)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, StaleReminder)
    assert payments(database) == 0
    assert generations(database) == {"alarm": 1}
    assert database.stored(Counter, counter.key).count == 0


def test_a_stale_barrier_turn_in_memory_leaves_no_trace() -> None:
    """B49."""
    world = World("memory")
    (counter,) = activate(world)
    keep(counter, setting())
    outcome = counter.transact(lambda _: {"records": [setting("other"), setting(generation=3, expect=2)]})
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, StaleReminder)
    assert generations(world) == {"alarm": 1}
    world.close()


def test_an_abandoned_barrier_turn_stores_no_record(world: World) -> None:
    """B72."""
    (counter,) = activate(world)
    assert counter.transact(lambda _: {"records": [setting()]}, begin_commit=lambda: False) == Lost()
    assert world.waiting() == []


# A connection that breaks.


@pytest.mark.parametrize("values", [{}, {"count": 5}])
@pytest.mark.parametrize("stored", [True, False])
def test_records_of_a_group_in_doubt_are_there_once(database: World, stored: bool, values: dict[str, Any]) -> None:
    """B28."""
    (counter,) = activate(database)
    write = counter.record(setting(), tell(), answer(), **values)
    if stored:
        assert isinstance(counter.node.commit(write)[0], Committed)
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Committed)
    assert (len(database.waiting()), len(database.answers())) == (2, 1)


def test_a_firing_in_doubt_that_is_stale_now_stays_unsettled(database: World) -> None:
    """B28, B49: perhaps it was this very firing that made it stale."""
    (counter,) = activate(database)
    keep(counter, setting())
    write = counter.record(setting(generation=2, expect=1))
    assert isinstance(counter.node.commit(write)[0], Committed)
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Unsettled)
    assert generations(database) == {"alarm": 2}


def test_records_in_doubt_of_a_row_that_is_lost_stay_unsettled(database: World) -> None:
    """B28: they may have been stored before it was lost."""
    (counter,) = activate(database)
    write = counter.record(setting())
    database.update(Counter, counter.key, note="outside")
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Unsettled)
    assert database.waiting() == []


# What it costs.


def test_answers_of_a_group_cost_one_statement(postgresql: World) -> None:
    """§7: beside the transaction around it."""
    counters = activate(postgresql, 50)
    store = counters[0].node.store
    execute, sent = store.execute, []

    def noting(connection: Any, statement: Any) -> Any:
        sent.append(statement[0].split()[0])
        return execute(connection, statement)

    store.execute = noting
    counters[0].node.commit(*[one.record(answer(), count=1) for one in counters])
    assert sent == ["BEGIN", "WITH", "INSERT", "SET", "COMMIT"]


def test_what_is_due_is_found_by_an_index(postgresql: World) -> None:
    """Among 100,000 that are pending in the future, in a session without the store's own settings."""
    node = postgresql.node()
    with connections["pg"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO lightmoon_reminder (actor, key, name, generation, message, payload, due_at, period, cron, "
            'catch_up, "user", wake_at, attempts, last_error) SELECT %s, n, %s, n, %s, %s, n, 0, %s, %s, %s, n, 0, %s '
            "FROM generate_series(2000000, 2100000) n",
            [COUNTER, "alarm", "ring", b"[]", "", "once", "", ""],
        )
        cursor.execute("ANALYZE lightmoon_reminder")
        queries: list[tuple[str, Any]] = []
        node.run(lambda: _noting(node.store, queries))
        for sql, parameters in queries:
            if "lightmoon_reminder" in sql:
                cursor.execute(f"EXPLAIN {sql}", parameters)
                plan = "\n".join(row[0] for row in cursor.fetchall())
                assert "Index" in plan, f"{sql}\n{plan}"
                assert "Seq Scan on lightmoon_reminder" not in plan, f"{sql}\n{plan}"  # pauses are few
    assert {"SELECT", "UPDATE"} <= {sql.split()[0] for sql, _ in queries}


def _noting(store: OrmStore, queries: list[tuple[str, Any]]) -> None:
    def note(execute: Any, sql: Any, parameters: Any, many: bool, context: Any) -> Any:
        queries.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connections["pg"].execute_wrapper(note):
        assert len(store.due(2_000_010, FAR, 5)) == 5
        store.next_due()
