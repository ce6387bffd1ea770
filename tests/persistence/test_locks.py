"""Nobody's lock stops everybody: rows on PostgreSQL, the file on SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from lightmoon_django.errors import DeadlineExceeded
from lightmoon_django.persistence.store import Committed, Loaded, Locked
from tests.app.models import Counter, Member, Payment
from tests.persistence.test_barriers import counter_of, payments
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


# Turns that are given up on SQLite.


def rolled_back() -> bool:
    """Wait until the transaction of this thread has been ended from outside."""
    until = time.monotonic() + 5.0
    while connections["default"].connection.in_transaction and time.monotonic() < until:
        time.sleep(0.01)
    return not connections["default"].connection.in_transaction


def test_rows_of_a_statement_that_goes_on_are_not_stored(sqlite: World) -> None:
    """B72: after the rollback each would be stored by itself."""
    counter = counter_of(sqlite)
    alive = [True]

    def rows() -> Iterator[tuple[Any, ...]]:
        yield counter.key, 1
        alive[0] = False
        assert rolled_back()
        yield counter.key, 2

    def run(instance: Counter) -> None:
        with connections["default"].cursor() as cursor:
            cursor.executemany("INSERT INTO testapp_payment (counter_id, amount) VALUES (%s, %s)", rows())

    with pytest.raises(DeadlineExceeded):
        counter.transact(run, alive=lambda: alive[0])
    assert payments(sqlite) == 0


def test_a_turn_that_has_read_half_of_its_rows_gives_the_file_back(sqlite: World) -> None:
    """B72: a cursor that stays open is in nobody's way."""
    counter = counter_of(sqlite)
    for amount in range(3):
        Payment.objects.create(counter_id=counter.key, amount=amount)

    def half() -> Iterator[Payment]:
        rows = Payment.objects.iterator(chunk_size=1)
        next(rows)
        return rows

    assert ended_while(sqlite, half)


def test_a_turn_inside_a_long_statement_gives_the_file_back(sqlite: World) -> None:
    """B72: the statement is interrupted."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    def ask() -> None:
        with pytest.raises(DatabaseError, match="interrupted"), connections["default"].cursor() as cursor:
            cursor.execute(endless)

    assert ended_while(sqlite, ask)


def ended_while(world: World, work: Callable[[], Any]) -> bool:
    """Whether the transaction of a turn was ended that was given up before it does that."""
    counter = counter_of(world)
    alive, found = [True], list[bool]()

    def run(instance: Counter) -> None:
        given_up = threading.Timer(0.05, alive.clear)
        Payment.objects.count()
        given_up.start()
        kept = work()
        given_up.join()
        found.append(rolled_back())
        del kept

    with pytest.raises(DeadlineExceeded):
        counter.transact(run, alive=lambda: bool(alive))
    return found == [True]
