"""What every store promises, on memory, SQLite and PostgreSQL."""

from __future__ import annotations

import datetime
import decimal
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from lightmoon_django.models import Node
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.rows import Rows
from lightmoon_django.persistence.store import Committed, Failed, Loaded, Locked, Lost, Missing, OwnedElsewhere
from tests.app.models import Computed, Counter, Device, Document, Member, Place, Restaurant, Room, Stamped
from tests.persistence.world import World, in_thread

# Loading.


def test_a_missing_row_is_missing_and_stays_so(world: World) -> None:
    """B8: `create=False`."""
    assert world.node().load(Counter, "4711") == [Missing()]
    assert world.stored(Counter, "4711") is None


def test_a_missing_row_is_created_from_defaults_where_the_actor_wants_that(world: World) -> None:
    """B8: `create=True`, with keys of several types."""
    node = world.node()
    key = str(uuid.uuid4())
    (document,) = node.activate(Document, "7")
    (device,) = node.activate(Device, key)
    (room,) = node.activate(Room, "Größe ≠ 1")
    assert (document.instance.body, document.instance.title) == ({}, "untitled")
    assert device.instance.pk == uuid.UUID(key)
    assert room.instance.slug == "Größe ≠ 1"
    assert world.stored(Room, "Größe ≠ 1").topic == ""


def test_several_nodes_that_create_at_once_make_one_row(database: World) -> None:
    """B8: one of them has it, the others learn who."""
    nodes = [database.node() for _ in range(4)]
    with ThreadPoolExecutor(len(nodes)) as pool:
        outcomes = list(pool.map(lambda node: node.load(Room, "hall")[0], nodes))
    kinds = [type(one).__name__ for one in outcomes]
    assert kinds.count("Loaded") <= 1
    assert set(kinds) <= {"Loaded", "OwnedElsewhere", "Locked"}
    assert Room.objects.using(database.alias).count() == 1


def test_many_rows_are_loaded_at_once_in_order(world: World) -> None:
    keys = [world.insert(Counter, count=i) for i in range(1, 8)]
    order = [keys[3], "999999", keys[0], keys[6]]
    outcomes = world.node().load(Counter, *order)
    assert [type(one) for one in outcomes] == [Loaded, Missing, Loaded, Loaded]
    assert [one.snapshot[1] for one in outcomes if isinstance(one, Loaded)] == [4, 1, 7]


def test_the_same_key_may_be_asked_for_twice(world: World) -> None:
    key = world.insert(Counter)
    assert [type(one) for one in world.node().load(Counter, key, key)] == [Loaded, Loaded]


def test_every_type_survives_the_way_there_and_back(database: World) -> None:
    """B7: values and keys keep their type and their bits."""
    values: dict[str, Any] = {
        "email": "ä@example.org",
        "price": decimal.Decimal("12.50"),
        "ratio": 0.1,
        "active": False,
        "born": datetime.date(1999, 12, 31),
        "at": datetime.time(23, 59, 59, 999_999),
        "seen": datetime.datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=datetime.UTC),
        "spent": datetime.timedelta(days=-1, seconds=5, microseconds=7),
        "token": uuid.uuid4(),
        "data": b'\x00\xff"\\',
        "address": "::1",
        "size": 32_767,
    }
    node = database.node()
    (member,) = node.activate(Member, database.insert(Member))
    assert isinstance(member.commit(**values), Committed)
    database.update(Member, member.key, lightmoon_owner=None)
    (again,) = database.node().activate(Member, member.key)
    found = {name: getattr(again.instance, name) for name in values}
    assert {**found, "data": bytes(found["data"])} == values
    assert {name: type(value) for name, value in found.items() if name != "data"} == {
        name: type(value) for name, value in values.items() if name != "data"
    }


def test_none_is_stored_as_null(database: World) -> None:
    values: dict[str, Any] = {"email": "a@example.org", "token": uuid.uuid4(), "data": b"x", "address": "10.0.0.1"}
    (member,) = database.node().activate(Member, database.insert(Member, **values))
    assert isinstance(member.commit(**dict.fromkeys(values)), Committed)
    row = database.stored(Member, member.key)
    assert [getattr(row, name) for name in values] == [None] * 4


@pytest.mark.parametrize(
    "text", ['say "hi"', "back\\slash", "{a,b}", "NULL", "", " ", "tab\tnew\nline", "💥 𝄞", "%s %(x)s"]
)
def test_texts_arrive_as_they_were(world: World, text: str) -> None:
    (counter,) = world.node().activate(Counter, world.insert(Counter))
    assert isinstance(counter.commit(note=text, name=text[:20]), Committed)
    assert world.stored(Counter, counter.key).note == text


def test_a_text_key_is_taken_literally(database: World) -> None:
    """B7: quotes, commas, and letters of other cases."""
    for key in ['a"b', "a\\b", "{x}", "A", "a", "NULL", "a,b"]:
        (room,) = database.node().activate(Room, key)
        assert isinstance(room.commit(topic=key), Committed)
    assert Room.objects.using(database.alias).count() == 7


# Committing.


def test_a_commit_stores_the_changed_columns_only(world: World) -> None:
    (counter,) = world.node().activate(Counter, world.insert(Counter, count=1, name="a", note="b"))
    write = counter.write(count=2)
    assert list(write.changes.values()) == [2]
    assert isinstance(counter.settle(counter.node.commit(write)[0]), Committed)
    row = world.stored(Counter, counter.key)
    assert (row.count, row.name, row.note) == (2, "a", "b")


def test_commits_follow_one_another(world: World) -> None:
    (counter,) = world.node().activate(Counter, world.insert(Counter))
    for n in range(1, 13):
        assert isinstance(counter.commit(count=n), Committed)
    assert world.stored(Counter, counter.key).count == 12


def test_a_group_of_different_columns_and_classes_is_stored(world: World) -> None:
    node = world.node()
    one, two = node.activate(Counter, world.insert(Counter), world.insert(Counter))
    (room,) = node.activate(Room, "hall")
    writes = [
        one.write(count=5),
        two.write(name="n", note="t"),
        room.write(topic="moon"),
        node.activate(Room, "x")[0].look(),
    ]
    assert [type(outcome) for outcome in node.commit(*writes)] == [Committed] * 4
    assert world.stored(Counter, one.key).count == 5
    assert world.stored(Counter, two.key).note == "t"
    assert world.stored(Room, "hall").topic == "moon"


def test_json_is_stored_by_value(world: World) -> None:
    """B27: also where 1 and True differ, and what was put into it later doesn't show."""
    (document,) = world.node().activate(Document, "1")
    body = {"n": [1, {"deep": None}]}
    assert isinstance(document.commit(body=body, extra={"when": datetime.date(2026, 1, 2)}), Committed)
    body["n"].append("later")
    row = world.stored(Document, "1")
    assert (row.body, row.extra) == ({"n": [1, {"deep": None}]}, {"when": "2026-01-02"})
    assert isinstance(document.commit(body={"n": [True, {"deep": None}]}), Committed)
    assert world.stored(Document, "1").body["n"][0] is True


def test_a_commit_by_somebody_who_does_not_own_the_row_is_lost(world: World) -> None:
    """B31: a paused node wakes up after another took over; §9.5: also when it changes nothing."""
    old, new = world.node(), world.node()
    key = world.insert(Counter, count=1)
    (before,) = old.activate(Counter, key)
    world.kill(old)
    (after,) = new.activate(Counter, key)
    assert before.commit(count=99) == Lost()
    assert before.verify() == Lost()
    assert old.commit(before.look(fence=True)) == [Lost()]
    assert isinstance(after.commit(count=2), Committed)
    assert world.stored(Counter, key).count == 2


def test_a_live_node_keeps_its_rows(world: World) -> None:
    """B69: a claim names the owner and takes nothing."""
    first, second = world.node(), world.node()
    key = world.insert(Counter)
    (counter,) = first.activate(Counter, key)
    (outcome,) = second.load(Counter, key)
    assert isinstance(outcome, OwnedElsewhere)
    assert str(first.incarnation) in outcome.owner
    assert isinstance(counter.commit(count=3), Committed)


def test_a_node_may_load_its_own_row_again(world: World) -> None:
    node = world.node()
    (counter,) = node.activate(Counter, world.insert(Counter))
    counter.commit(count=4)
    (again,) = node.activate(Counter, counter.key)
    assert again.instance.count == 4
    assert isinstance(again.commit(count=5), Committed)


def test_later_claims_have_later_times(world: World) -> None:
    first, second = world.node(), world.node()
    (one,) = first.activate(Counter, world.insert(Counter))
    first.disown(one)
    (two,) = second.activate(Counter, one.key)
    assert two.claimed_at >= one.claimed_at


def test_a_row_given_back_may_be_claimed_at_once(world: World) -> None:
    first, second = world.node(), world.node()
    (counter,) = first.activate(Counter, world.insert(Counter))
    first.disown(counter)
    assert world.owner(Counter, counter.key) is None
    assert isinstance(second.load(Counter, counter.key)[0], Loaded)
    assert counter.commit(count=9) == Lost()


def test_giving_back_what_another_node_has_changes_nothing(world: World) -> None:
    first, second = world.node(), world.node()
    (counter,) = first.activate(Counter, world.insert(Counter))
    world.kill(first)
    second.activate(Counter, counter.key)
    first.disown(counter)
    assert world.owner(Counter, counter.key) == second.incarnation


def test_who_owns_a_row_is_told_without_taking_it(world: World) -> None:
    """Design §4, resolve: only a living owner counts, and a missing row has none."""
    first, second = world.node(), world.node()
    free = world.insert(Counter)
    one, other = first.activate(Counter, world.insert(Counter), world.insert(Counter))
    asked = [(one.schema, key) for key in (one.key, other.key, free, "999999")]
    name = one.schema.name
    assert second.store.whereabouts(asked) == {(name, one.key): first.incarnation, (name, other.key): first.incarnation}
    first.disown(one)
    assert second.store.whereabouts(asked) == {(name, other.key): first.incarnation}
    world.kill(first)
    assert second.store.whereabouts(asked) == {}
    assert world.owner(Counter, free) is None


# Writes from outside.


def test_an_outside_save_takes_the_row_from_its_activation(database: World) -> None:
    """B29: `instance.save()` writes no owner."""
    (counter,) = database.node().activate(Counter, database.insert(Counter))
    row = database.stored(Counter, counter.key)
    row.count = 70
    row.save(using=database.alias)
    assert counter.commit(count=1) == Lost()
    assert database.stored(Counter, counter.key).count == 70


def test_an_outside_save_of_named_fields_does_too(database: World) -> None:
    """B29: `update_fields` gets the owner added."""
    (counter,) = database.node().activate(Counter, database.insert(Counter))
    row = database.stored(Counter, counter.key)
    row.name = "outside"
    row.save(using=database.alias, update_fields=["name"])
    assert database.owner(Counter, counter.key) is None


def test_an_outside_update_is_not_overwritten(world: World) -> None:
    """B71: `QuerySet.update` leaves the owner as it is."""
    (counter,) = world.node().activate(Counter, world.insert(Counter))
    assert isinstance(counter.commit(count=1), Committed)
    world.update(Counter, counter.key, note="from outside")
    assert counter.verify() == Lost()
    assert counter.commit(count=2) == Lost()
    assert world.stored(Counter, counter.key).count == 1


def test_an_outside_update_in_the_store_s_own_thread_is_not_overwritten(database: World) -> None:
    """B71: the same connection wrote."""
    node = database.node()
    (counter,) = node.activate(Counter, database.insert(Counter))
    node.run(lambda: database.update(Counter, counter.key, note="from outside"))
    assert counter.commit(count=2) == Lost()


def test_raw_sql_is_not_overwritten(database: World) -> None:
    """B71."""
    (counter,) = database.node().activate(Counter, database.insert(Counter))
    with connections[database.alias].cursor() as cursor:
        cursor.execute("UPDATE testapp_counter SET count = count + 5 WHERE id = %s", [int(counter.key)])
    assert counter.commit(count=1) == Lost()
    assert database.stored(Counter, counter.key).count == 5


def test_the_node_s_own_heartbeat_makes_nobody_look_at_the_rows(
    database: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite tells only that the file was written, and then each actor's row is compared once."""
    if database.backend != "sqlite":
        pytest.skip("Other databases tell which row was written.")
    node = database.node()
    counter = node.activate(Counter, database.insert(Counter))[0]
    looked: list[str] = []
    read = Rows.read
    monkeypatch.setattr(Rows, "read", lambda self, keys, **more: looked.extend(keys) or read(self, keys, **more))
    assert node.run(lambda: node.store.beat(lambda: Nodes(database.alias).heartbeat(node.incarnation, 3600.0)))
    assert isinstance(counter.commit(count=1), Committed)
    assert looked == []
    in_thread(lambda: Nodes(database.alias).heartbeat(node.incarnation, 3600.0))
    assert isinstance(counter.commit(count=2), Committed)
    assert looked == [counter.key]


def test_an_outside_delete_is_noticed(world: World) -> None:
    """B29: and the row doesn't come back."""
    (counter,) = world.node().activate(Counter, world.insert(Counter))
    world.delete(Counter, counter.key)
    assert counter.commit(count=1) == Missing()
    assert counter.verify() == Missing()
    assert world.stored(Counter, counter.key) is None


def test_a_cascade_is_noticed(database: World) -> None:
    """B71: the row goes with the one that it refers to."""
    counter = database.insert(Counter)
    (member,) = database.node().activate(Member, database.insert(Member, counter_id=counter))
    database.delete(Counter, counter)
    assert member.commit(size=1) == Missing()


def test_a_parent_s_save_is_not_overwritten(database: World) -> None:
    """B71: multi-table inheritance."""
    (restaurant,) = database.node().activate(Restaurant, database.insert(Restaurant, name="Old"))
    Place.objects.using(database.alias).filter(pk=restaurant.key).update(name="New")
    assert restaurant.verify() == Lost()


def test_others_writes_of_other_rows_disturb_nobody(database: World) -> None:
    """B29: only that actor reloads."""
    node = database.node()
    one, two = node.activate(Counter, database.insert(Counter), database.insert(Counter))
    for n in range(1, 4):
        database.update(Counter, two.key, count=100 + n)
        assert isinstance(one.commit(count=n), Committed)
    assert two.commit(count=1) == Lost()


def test_values_that_only_look_different_are_no_outside_write(database: World) -> None:
    """A turn left values in other Python types than the database returns."""
    (member,) = database.node().activate(Member, database.insert(Member))
    zone = datetime.timezone(datetime.timedelta(hours=2))
    seen = datetime.datetime(2026, 1, 1, 12, tzinfo=zone)
    assert isinstance(member.commit(price=3.5, ratio=2, seen=seen, size=True, email="x@example.org"), Committed)
    database.insert(Counter)
    assert isinstance(member.commit(active=False), Committed)


# One bad actor.


def test_a_violated_constraint_fails_only_its_own_actor(database: World) -> None:
    """B33: B26 on the store's side: nothing of it is stored, and it may go on."""
    node = database.node()
    counters = node.activate(Counter, *[database.insert(Counter) for _ in range(20)])
    outcomes = node.commit(*[one.write(count=13 if i == 7 else i + 100) for i, one in enumerate(counters)])
    assert isinstance(outcomes[7], Failed)
    assert [type(one) for i, one in enumerate(outcomes) if i != 7] == [Committed] * 19
    assert database.stored(Counter, counters[7].key).count == 0
    assert isinstance(counters[7].commit(count=14), Committed)


def test_a_dangling_foreign_key_fails_only_its_own_actor(database: World) -> None:
    """B74: it is checked at the commit, which would take the group with it."""
    node = database.node()
    members = node.activate(Member, *[database.insert(Member) for _ in range(10)])
    counter = int(database.insert(Counter))
    outcomes = node.commit(*[one.write(counter_id=987654 if i == 4 else counter) for i, one in enumerate(members)])
    assert isinstance(outcomes[4], Failed)
    assert [type(one) for i, one in enumerate(outcomes) if i != 4] == [Committed] * 9


def test_a_duplicate_fails_only_its_own_actor(database: World) -> None:
    """B33: a unique column."""
    node = database.node()
    database.insert(Member, email="taken@example.org")
    members = node.activate(Member, *[database.insert(Member) for _ in range(5)])
    mails = ["a@example.org", "b@example.org", "taken@example.org", "c@example.org", "d@example.org"]
    outcomes = node.commit(*[one.write(email=mail) for one, mail in zip(members, mails, strict=True)])
    assert [type(one) for one in outcomes] == [Committed, Committed, Failed, Committed, Committed]


def test_bad_values_of_several_classes_in_one_group_fail_alone(database: World) -> None:
    """B74: the group has several statements."""
    node = database.node()
    counters = node.activate(Counter, *[database.insert(Counter) for _ in range(6)])
    members = node.activate(Member, *[database.insert(Member) for _ in range(6)])
    writes = [one.write(count=13 if i == 2 else 20) for i, one in enumerate(counters)]
    writes += [one.write(counter_id=987654 if i == 3 else None, size=1) for i, one in enumerate(members)]
    kinds = [type(one) for one in node.commit(*writes)]
    assert kinds == [Committed] * 2 + [Failed] + [Committed] * 6 + [Failed] + [Committed] * 2


def test_a_value_that_only_the_database_refuses_fails_alone(database: World) -> None:
    """B74: a text that slipped past the preparation is an error and never cut."""
    if database.backend == "sqlite":
        pytest.skip("SQLite keeps texts of any length.")
    node = database.node()
    one, two = node.activate(Counter, database.insert(Counter), database.insert(Counter))
    bad = one.write(name="x")
    bad.changes[next(iter(bad.changes))] = "y" * 21
    outcomes = node.commit(bad, two.write(name="fine"))
    assert [type(outcome) for outcome in outcomes] == [Failed, Committed]
    assert database.stored(Counter, one.key).name == ""


def test_an_unreadable_key_fails_alone(database: World) -> None:
    good = database.insert(Counter)
    outcomes = database.node().load(Counter, "99999999999999999999", good)
    assert [type(one) for one in outcomes] == [Failed, Loaded]


# What the schema brings.


def test_rows_from_before_a_migration_activate(database: World) -> None:
    """B36: a column was added with a default."""
    with connections[database.alias].cursor() as cursor:
        cursor.execute("INSERT INTO testapp_room (slug, topic) VALUES ('old', '')")
    (room,) = database.node().activate(Room, "old")
    assert isinstance(room.commit(topic="new"), Committed)


def test_auto_now_is_honoured(database: World) -> None:
    """B37: also in memory; and `auto_now_add` stays."""
    (stamped,) = database.node().activate(Stamped, database.insert(Stamped))
    before = stamped.base
    assert isinstance(stamped.commit(value=1), Committed)
    row = database.stored(Stamped, stamped.key)
    assert row.modified > before[3]
    assert row.created == before[2]
    assert row.modified == stamped.instance.modified


def test_generated_columns_come_back(database: World) -> None:
    """§9.16: with the commit."""
    (computed,) = database.node().activate(Computed, database.insert(Computed, base=2))
    assert computed.instance.double == 4
    outcome = computed.commit(base=21)
    assert outcome.snapshot == (int(computed.key), 21, 42)
    assert isinstance(computed.commit(base=22), Committed)


def test_inherited_rows_are_created_in_all_their_tables(database: World) -> None:
    (restaurant,) = database.node().activate(Restaurant, database.insert(Restaurant, name="Chez", stars=2))
    assert (restaurant.instance.name, restaurant.instance.stars) == ("Chez", 2)
    assert restaurant.columns.barrier is not None


# Takeover.


def test_a_passed_lease_gives_the_rows_away(database: World) -> None:
    """B31: and the late heartbeat fails."""
    old, new = database.node(), database.node()
    (counter,) = old.activate(Counter, database.insert(Counter))
    _expire(database, old.incarnation)
    assert isinstance(new.load(Counter, counter.key)[0], Loaded)
    assert not Nodes(database.alias).heartbeat(old.incarnation, 5.0)


def test_a_heartbeat_in_time_keeps_the_rows(database: World) -> None:
    """B69: a takeover and a heartbeat: exactly one of them succeeds."""
    old, new = database.node(), database.node()
    (counter,) = old.activate(Counter, database.insert(Counter))
    assert Nodes(database.alias).heartbeat(old.incarnation, 5.0)
    assert isinstance(new.load(Counter, counter.key)[0], OwnedElsewhere)


def test_a_heartbeat_and_a_takeover_at_once_never_both_succeed(database: World) -> None:
    """B69: twenty tries around the end of the lease."""
    for _ in range(20):
        node = database.node()
        nodes = Nodes(database.alias)
        _expire(database, node.incarnation, in_microseconds=3_000)
        with ThreadPoolExecutor(2) as pool:
            renewed = pool.submit(in_thread, lambda n=node, a=nodes: a.heartbeat(n.incarnation, 60.0))
            buried = pool.submit(in_thread, lambda n=node, a=nodes: a.dead_among({n.incarnation}))
            assert not (renewed.result() and buried.result())


def test_nothing_is_given_that_was_taken_as_a_node_that_is_gone(database: World) -> None:
    """B31, B44: somebody else may have it by now, and change it, before this node notices."""
    node, next_one = database.node(), database.node()
    keys = [database.insert(Counter) for _ in range(3)]
    node.store.trusted = lambda: False
    assert node.load(Counter, keys[0], "0") == [Locked(), Missing()]
    node.store.trusted = lambda: True
    incarnations = iter([node.incarnation] * 2)
    node.store.incarnation = lambda: next(incarnations, next_one.incarnation)
    assert node.load(Counter, keys[1]) == [Locked()]
    database.kill(node)
    assert isinstance(node.load(Counter, keys[1])[0], Loaded)


def test_an_owner_that_no_table_knows_is_dead(database: World) -> None:
    """§9.1: node rows are deleted only after their tombstone."""
    key = database.insert(Counter)
    database.update(Counter, key, lightmoon_owner=42)
    assert isinstance(database.node().load(Counter, key)[0], Loaded)


def _expire(world: World, incarnation: int, in_microseconds: int = -1) -> None:
    now = Nodes(world.alias).now()
    Node.objects.using(world.alias).filter(pk=incarnation).update(expires_at=now + in_microseconds)
