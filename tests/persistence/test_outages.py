"""What becomes of commits whose connection breaks."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from django.db import connections

from lightmoon_django.persistence.settling import settle
from lightmoon_django.persistence.silence import hang_up
from lightmoon_django.persistence.store import Committed, Down, Failed, Loaded, Locked, Unsettled
from tests.app.models import Computed, Counter, Document
from tests.persistence.world import Activation, RowHolder, World
from tests.services import Postgres

GONE = ConnectionError("the line went dead")


def activate(world: World, cls: Any = Counter, key: str | None = None) -> Activation:
    return world.node().activate(cls, key or world.insert(cls))[0]


def test_a_connection_that_died_in_its_sleep_is_replaced(postgresql: World) -> None:
    """B35: nothing was under way, so nothing is in doubt."""
    counter = activate(postgresql)
    counter.node.run(lambda: _kill_backend(postgresql))
    assert isinstance(counter.commit(count=1), Committed)


def test_a_commit_without_acknowledgement_that_was_stored_is_found(database: World) -> None:
    """B28: the row holds what was written."""
    counter = activate(database)
    write = counter.write(count=5, note="ä")
    (stored,) = counter.node.commit(write)
    assert isinstance(stored, Committed)
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Committed)
    counter.settle(outcome)
    assert isinstance(counter.commit(count=6), Committed)


def test_so_is_a_document(database: World) -> None:
    """B28: PostgreSQL orders its keys anew."""
    document = activate(database, Document, "1")
    write = document.write(body={"z": 1, "a": [1.5, None]})
    document.node.commit(write)
    (outcome,) = document.node.run(lambda: settle(document.node.store, [write], GONE))
    assert isinstance(outcome, Committed)


def test_a_commit_that_was_not_stored_is_stored_then(database: World) -> None:
    """B28: and the first try can't be stored any more, because the row's version has moved on."""
    counter = activate(database)
    write = counter.write(count=5)
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Committed)
    assert database.stored(Counter, counter.key).count == 5


def test_what_the_database_computed_comes_back_then_too(database: World) -> None:
    """B28."""
    computed = activate(database, Computed)
    write = computed.write(base=4)
    computed.node.commit(write)
    (outcome,) = computed.node.run(lambda: settle(computed.node.store, [write], GONE))
    assert isinstance(outcome, Committed)
    assert computed.columns.make(outcome.snapshot, computed.key).double == 8


def test_a_commit_after_which_somebody_wrote_another_column_stays_unsettled(postgresql: World) -> None:
    """B28, B71: it was stored; but who goes on from there would never learn of the other write."""
    counter = activate(postgresql)
    write = counter.write(count=5)
    counter.node.commit(write)
    postgresql.update(Counter, counter.key, note="outside")
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Unsettled)


def test_a_commit_stays_unsettled_while_its_table_is_locked(postgresql: World) -> None:
    """B28, B70: a migration has the table. It was stored, so nobody is told that it failed, and nobody tries again."""
    counter = activate(postgresql)
    write = counter.write(count=5)
    counter.node.commit(write)
    with _connect(postgresql) as migration, migration.transaction():
        migration.execute("LOCK TABLE testapp_counter")
        (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Unsettled)


def test_a_commit_in_doubt_that_the_database_refuses_has_failed(database: World) -> None:
    """B28: then the first try was refused, too."""
    counter = activate(database)
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [counter.write(count=13)], GONE))
    assert isinstance(outcome, Failed)
    assert isinstance(counter.commit(count=6), Committed)


def test_a_commit_after_which_somebody_wrote_stays_unsettled(database: World) -> None:
    """B28: it can't be told, and so it isn't."""
    counter = activate(database)
    write = counter.write(count=5)
    database.update(Counter, counter.key, count=7)
    (outcome,) = counter.node.run(lambda: settle(counter.node.store, [write], GONE))
    assert isinstance(outcome, Unsettled)
    assert database.stored(Counter, counter.key).count == 7


@pytest.mark.slow
def test_a_restart_of_the_server_loses_nothing(postgresql: World, postgres_server: Postgres | None) -> None:
    """B35: requests are down while it is away, and go on when it is back."""
    if postgres_server is None:
        pytest.skip("Somebody else's server.")
    counter = activate(postgresql)
    counter.commit(count=1)
    postgres_server.stop()
    try:
        assert isinstance(counter.node.commit(counter.write(count=2))[0], Down)
        assert isinstance(counter.node.load(Counter, counter.key)[0], Down)
    finally:
        postgres_server.start()
        connections.close_all()
    assert isinstance(counter.commit(count=2), Committed)
    assert isinstance(counter.node.load(Counter, counter.key)[0], Loaded)


def test_a_connection_that_breaks_during_a_group_is_settled(postgresql: World) -> None:
    """B28: the server process is killed between the statements of a group."""
    node = postgresql.node()
    one, two = node.activate(Counter, postgresql.insert(Counter), postgresql.insert(Counter))
    store: Any = node.store
    execute, sent = store.execute, []

    def breaking(connection: Any, statement: Any) -> Any:
        sent.append(statement[0])
        if len(sent) == 3:
            _kill(postgresql, connection.connection.info.backend_pid)
        return execute(connection, statement)

    store.execute = breaking
    outcomes = node.commit(one.write(count=1), two.write(note="n"))
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed]
    assert (postgresql.stored(Counter, one.key).count, postgresql.stored(Counter, two.key).note) == (1, "n")


def test_what_is_stored_stays_so_when_nobody_can_say_why_another_is_not(postgresql: World) -> None:
    """B25, B70: a migration takes the table right after a group, one of whose rows was locked."""
    node = postgresql.node()
    held, free = node.activate(Counter, postgresql.insert(Counter), postgresql.insert(Counter))
    store: Any = node.store
    execute, migration = store.execute, threading.Thread(target=_take_table, args=(postgresql,))

    def slow(connection: Any, statement: Any) -> Any:
        found = execute(connection, statement)
        if migration.ident is None:
            migration.start()
            _until_waited_for(postgresql)
        return found

    store.execute = slow
    with RowHolder(postgresql, Counter, held.key):
        outcomes = node.commit(held.write(count=1), free.write(count=1))
    migration.join(10)
    assert [type(outcome) for outcome in outcomes] == [Locked, Committed]


def _take_table(world: World) -> None:
    with _connect(world) as other:
        other.execute("BEGIN; LOCK TABLE testapp_counter; COMMIT")


def _until_waited_for(world: World) -> None:
    """Until somebody waits for a lock on a table."""
    with _connect(world) as other:
        while not other.execute("SELECT 1 FROM pg_locks WHERE locktype = 'relation' AND NOT granted").fetchall():
            time.sleep(0.01)


def _kill_backend(world: World) -> None:
    """In the store's thread: kill its own connection's server process, from another connection."""
    _kill(world, connections[world.alias].connection.info.backend_pid)


def _kill(world: World, pid: int) -> None:
    with _connect(world) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def _connect(world: World) -> Any:
    """A connection that nobody else uses."""
    parameters = connections[world.alias].get_connection_params()
    chosen = {name: parameters[name] for name in ("dbname", "user", "host", "port", "password") if parameters.get(name)}
    return psycopg.connect(**chosen, autocommit=True)


def test_a_barrier_without_acknowledgement_that_was_stored_is_found(postgresql: World) -> None:
    """B28, 9.7: its connection broke, and the next one works at once."""
    counter = activate(postgresql)
    outcome = counter.transact(
        lambda one: setattr(one, "count", 5), begin_commit=lambda: _lose(postgresql, stored=True)
    )
    assert isinstance(outcome, Committed)
    assert isinstance(counter.commit(count=6), Committed)


def test_a_barrier_that_was_not_stored_is_run_again(postgresql: World) -> None:
    """B28: of that one it is known, too."""
    counter = activate(postgresql)
    for _ in range(2):
        outcome = counter.transact(
            lambda one: setattr(one, "count", 5), begin_commit=lambda: _lose(postgresql, stored=False)
        )
        assert isinstance(outcome, Down)
    assert postgresql.stored(Counter, counter.key).count == 0


def _lose(world: World, *, stored: bool) -> bool:
    """The connection of this thread will break while it commits; `stored`: on the way back."""
    connection: Any = connections[world.alias]
    commit = connection._commit

    def broken() -> None:
        connection._commit = commit
        if stored:
            commit()
        hang_up(connection.connection)
        with connection.wrap_database_errors:
            connection.connection.execute("SELECT 'what would have been the acknowledgement'")

    connection._commit = broken
    return True
