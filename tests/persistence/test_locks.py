"""Nobody's lock stops everybody: rows on PostgreSQL, the file on SQLite."""

from __future__ import annotations

import threading
import time

from django.db import connections, transaction

from lightmoon_django.persistence.store import Committed, Loaded, Locked
from tests.app.models import Counter, Member
from tests.persistence.world import RowHolder, World, in_thread


def test_a_locked_row_delays_only_its_own_actor(postgresql: World) -> None:
    """B70: it commits when the other transaction has ended."""
    node = postgresql.node()
    counters = node.activate(Counter, *[postgresql.insert(Counter) for _ in range(10)])
    with RowHolder(postgresql, Counter, counters[4].key):
        began = time.monotonic()
        outcomes = node.commit(*[one.write(count=20) for one in counters])
        assert time.monotonic() - began < 2.0
        kinds = [type(one) for one in outcomes]
        assert kinds == [Committed] * 4 + [Locked] + [Committed] * 5
        assert node.commit(counters[4].look(fence=True)) == [Locked()]
        assert isinstance(counters[4].verify(), Committed)
    assert isinstance(counters[4].commit(count=21), Committed)


def test_a_locked_row_is_not_waited_for_when_it_is_loaded(postgresql: World) -> None:
    """B70."""
    free, held = postgresql.insert(Counter), postgresql.insert(Counter)
    with RowHolder(postgresql, Counter, held):
        outcomes = postgresql.node().load(Counter, held, free)
        assert [type(one) for one in outcomes] == [Locked, Loaded]


def test_a_wait_for_another_s_unique_value_is_short_and_hits_only_its_own_actor(postgresql: World) -> None:
    """B70: the one wait that SKIP LOCKED doesn't spare is bounded."""
    node = postgresql.node()
    members = node.activate(Member, *[postgresql.insert(Member) for _ in range(4)])
    inserted, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(using="pg"):
                Member.objects.using("pg").create(email="x@example.org")
                inserted.set()
                go_on.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert inserted.wait(10)
    mails = ["a@example.org", "x@example.org", "b@example.org", "c@example.org"]
    outcomes = node.commit(*[one.write(email=mail) for one, mail in zip(members, mails, strict=True)])
    go_on.set()
    thread.join(10)
    assert [type(one) for one in outcomes] == [Committed, Locked, Committed, Committed]


def test_another_s_write_lock_makes_the_group_locked_soon(sqlite: World) -> None:
    """B70: SQLite has one lock for all."""
    counter = sqlite.node().activate(Counter, sqlite.insert(Counter))[0]
    with RowHolder(sqlite, Counter, counter.key):
        began = time.monotonic()
        assert counter.commit(count=1) == Locked()
        assert counter.node.load(Counter, counter.key) == [Locked()]
        assert time.monotonic() - began < 5.0
    assert isinstance(counter.commit(count=1), Committed)


def test_ordinary_writers_get_the_lock_between_groups(sqlite: World) -> None:
    """B76: while the store is busy all the time."""
    node = sqlite.node()
    counters = node.activate(Counter, *[sqlite.insert(Counter) for _ in range(50)])
    stop = threading.Event()
    groups = [0]

    def load() -> None:
        while not stop.is_set():
            outcomes = node.commit(*[one.write(count=100 + groups[0]) for one in counters])
            for one, outcome in zip(counters, outcomes, strict=True):
                one.settle(outcome)
            groups[0] += 1
            time.sleep(node.store.pause_after_commit)

    thread = threading.Thread(target=load)
    thread.start()
    began = time.monotonic()
    for i in range(30):
        in_thread(lambda i=i: Member.objects.create(email=f"{i}@example.org"))
    took = time.monotonic() - began
    stop.set()
    thread.join(30)
    assert Member.objects.count() == 30
    assert took < 15.0
    assert groups[0] > 3
