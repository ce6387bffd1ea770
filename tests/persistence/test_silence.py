"""A database that has gone silent: nobody waits for it for ever."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction

from lightmoon_django.cluster.membership import Membership
from lightmoon_django.conf import Settings
from lightmoon_django.models import Node
from lightmoon_django.persistence import silence
from lightmoon_django.persistence.driver import StoreThread
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.ownconnection import one_more_connection, own_connection
from lightmoon_django.persistence.store import Committed, Down, Locked, Unsettled
from lightmoon_django.persistence.stores import open_store
from tests.app.models import Counter
from tests.persistence.world import World, in_thread

LONG = "SELECT pg_sleep(5)"  # the server sleeps on, whoever hangs up
SOON = 4.5  # seconds


@pytest.fixture
def connection(postgresql: World) -> Any:
    found = one_more_connection(postgresql.alias)
    yield found
    found.close()


def test_a_wait_ends_with_its_time(connection: Any) -> None:
    """B35: as if the server had hung up."""
    began = time.monotonic()
    with pytest.raises(OperationalError), silence.at_most(connection, 0.1), connection.cursor() as cursor:
        cursor.execute(LONG)
    assert time.monotonic() - began < SOON
    assert connection.connection.closed


def test_what_was_answered_in_time_leaves_the_connection_whole(connection: Any) -> None:
    with silence.at_most(connection, 60.0), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    wait = silence.Wait(connection, time.monotonic() - 1)
    wait.end()
    wait.end_if_abandoned()  # the watch had looked just before
    with connection.cursor() as cursor:
        cursor.execute("SELECT 2")
        assert cursor.fetchone() == (2,)


def test_there_is_nothing_to_hang_up_on_where_nobody_is(connection: Any) -> None:
    silence.hang_up(None)
    silence.hang_up(object())
    connection.ensure_connection()
    raw = connection.connection
    connection.close()
    silence.hang_up(raw)


def test_a_heartbeat_waits_no_longer_than_its_lease(postgresql: World) -> None:
    """B31: a later answer could only say that it came too late."""
    member = Membership(postgresql.alias, Settings(LEASE_SECONDS=0.5), lambda: None)
    member._nodes.register(member._incarnation, 60.0)

    def beat() -> float:
        began = time.monotonic()
        with pytest.raises(DatabaseError):
            member.beat()
        connections[postgresql.alias].close()
        return time.monotonic() - began

    with transaction.atomic(using=postgresql.alias):
        Node.objects.using(postgresql.alias).select_for_update().get(pk=member._incarnation)
        assert in_thread(beat) < SOON


def test_the_stores_thread_is_freed_when_its_database_does_not_answer(postgresql: World) -> None:
    """B35: the commit that is under way ends as any other whose connection broke."""
    counter = postgresql.node().activate(Counter, postgresql.insert(Counter))[0]
    store = counter.node.store
    under_way, ended = threading.Event(), threading.Event()
    outcomes: list[Any] = []

    def sleep(_: Any) -> Any:
        under_way.set()
        return store.execute(store._connected(), (LONG, []))

    def done(found: Any, *_: Any) -> None:
        outcomes.append(found)
        ended.set()

    thread = StoreThread("silent", lambda call, *args: call(*args), store.close, store.hang_up)
    try:
        thread.submit(store._connected, lambda _: ended.set())
        assert ended.wait(SOON)
        ended.clear()
        write = counter.write(count=7)
        original, store.store_group = store.store_group, sleep
        thread.submit(lambda: store.commit([write]), done)
        assert under_way.wait(SOON)
        store.store_group = original  # the next try gets through
        thread.break_off(60.0)  # not yet
        assert not ended.wait(0.1)
        thread.break_off(0.1)
        assert ended.wait(SOON)
        assert [type(one) for one in outcomes[0]] == [Committed]
    finally:
        thread.stop()
    assert postgresql.stored(Counter, counter.key).count == 7


def test_a_node_that_stands_still_within_a_commit_keeps_no_row(postgresql: World) -> None:
    """B31: rows that its open transaction has locked could be taken by nobody, long after its lease."""
    here, there = postgresql.node(), postgresql.node()
    key = postgresql.insert(Counter)
    counter = here.activate(Counter, key)[0]
    store = open_store(postgresql.alias, lambda: here.incarnation, Settings(LEASE_SECONDS=0.3))
    write = counter.write(count=5)

    def stand_still() -> Any:
        with store._raw_transaction(store._connected()):
            store.store_group([write])
            there.run(lambda: Nodes(postgresql.alias).leave(here.incarnation))
            assert there.load(Counter, key) == [Locked()]
            until = time.monotonic() + 20.0
            while there.load(Counter, key) == [Locked()]:
                assert time.monotonic() < until
                time.sleep(0.02)

    with pytest.raises(DatabaseError, match="idle-in-transaction"):
        in_thread(stand_still)
    assert postgresql.stored(Counter, key).count == 0


def test_a_turn_that_commits_into_silence_ends(postgresql: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """B35, 9.4: a worker's transaction, past its deadline, when the server itself can't end it any more."""
    monkeypatch.setattr("lightmoon_django.persistence.work.SILENCE", 0.1)
    counter = postgresql.node().activate(Counter, postgresql.insert(Counter))[0]
    store = counter.node.store
    monkeypatch.setattr(type(store), "bound_waits", lambda *_: None)  # it never heard of the deadline

    def stay(instance: Any) -> None:
        with connections[postgresql.alias].cursor() as cursor:
            cursor.execute(LONG)

    began = time.monotonic()
    outcome = counter.transact(stay, seconds_left=lambda: 0.1)
    assert time.monotonic() - began < SOON
    assert isinstance(outcome, (Down, Unsettled))


def test_connections_of_its_own_are_impatient_unless_the_project_says_otherwise(postgresql: World) -> None:
    def options() -> dict[str, Any]:
        found = own_connection(postgresql.alias)
        assert found.connection is None
        return dict(found.settings_dict["OPTIONS"])

    assert in_thread(options)["connect_timeout"] == 5
    settings = connections.databases[postgresql.alias]["OPTIONS"]
    settings["connect_timeout"] = 77
    try:
        assert in_thread(options)["connect_timeout"] == 77
        assert in_thread(options)["tcp_user_timeout"] == 10_000
    finally:
        del settings["connect_timeout"]
