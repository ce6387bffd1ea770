"""Leases: who is alive, and who knows it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import DatabaseError, connections

from lightmoon_django.cluster.membership import Membership
from lightmoon_django.conf import Settings
from lightmoon_django.identity import Endpoint
from lightmoon_django.models import Node
from lightmoon_django.persistence.driver import StoreThread
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.process import Process, is_provably_dead, this_process
from lightmoon_django.persistence.silence import hang_up
from tests.persistence.world import World


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lost() -> list[int]:
    return []


@pytest.fixture
def member(database: World, clock: Clock, lost: list[int]) -> Iterator[Membership]:
    """One whose own heartbeat doesn't come while the test runs."""
    found = Membership(database.alias, Settings(LEASE_SECONDS=60.0), lambda: lost.append(1), clock=clock)
    found.start()
    yield found
    found.stop()


def test_a_lease_is_valid_until_it_has_passed_since_it_was_sent(member: Membership, clock: Clock) -> None:
    assert member.valid()
    clock.now += 59.9
    assert member.valid()
    clock.now += 0.2
    assert not member.valid()


def test_a_heartbeat_extends_it(member: Membership, clock: Clock) -> None:
    incarnation = member.incarnation()
    clock.now += 50.0
    member.beat()
    clock.now += 50.0
    assert member.valid()
    assert member.incarnation() == incarnation


def test_a_node_that_was_declared_dead_takes_a_new_incarnation(member: Membership, lost: list[int]) -> None:
    """B31: after its activations were discarded."""
    old = member.incarnation()
    Nodes(member.alias).leave(old)
    member.beat()
    assert lost == [1]
    assert member.incarnation() != old
    assert member.valid()


def test_a_late_heartbeat_does_not_revive(member: Membership, lost: list[int]) -> None:
    """B31: it finds its lease passed on the database's clock."""
    old = member.incarnation()
    Node.objects.using(member.alias).filter(pk=old).update(expires_at=Nodes(member.alias).now())
    member.beat()
    assert lost == [1]
    assert member.incarnation() > old


def test_the_lease_ends_by_itself_while_the_database_is_silent(member: Membership, clock: Clock) -> None:
    """B31: the node fences itself."""
    clock.now += 61
    assert not member.valid()


def test_leaving_gives_everything_away_at_once(database: World) -> None:
    member = Membership(database.alias, Settings(), lambda: None)
    member.start()
    incarnation = member.incarnation()
    member.stop()
    assert not member.valid()
    assert Nodes(database.alias).dead_among({incarnation}) == {incarnation}


def test_the_heartbeat_comes_by_itself(database: World) -> None:
    """It has a thread and a connection of its own."""
    member = Membership(database.alias, Settings(LEASE_SECONDS=0.3), lambda: None)
    member.start()
    first = Node.objects.using(database.alias).get(pk=member.incarnation()).expires_at
    for _ in range(10_000):
        if Node.objects.using(database.alias).get(pk=member.incarnation()).expires_at > first:
            break
    else:
        pytest.fail("No heartbeat came.")
    member.stop()


def test_it_outlives_what_follows_it(database: World, caplog: pytest.LogCaptureFixture) -> None:
    """B31: a defect there must not cost the node its lease."""
    beats = 0
    enough = threading.Event()

    def fail() -> None:
        nonlocal beats
        beats += 1
        if beats == 4:  # more than fit into a lease
            enough.set()
        raise RuntimeError("It failed.")

    member = Membership(database.alias, Settings(LEASE_SECONDS=1.5), lambda: None, on_beat=fail)
    member.start()
    assert enough.wait(30)
    assert member.valid()
    member.stop()
    assert "after_beat_failed" in {getattr(one, "action", "") for one in caplog.records}
    assert Nodes(database.alias).dead_among({member.incarnation()}) == {member.incarnation()}  # it has signed off


def test_a_deputy_beats_for_it(database: World, clock: Clock) -> None:
    """A store whose connection is the right one; what it can't do in time the heartbeat's own connection does."""
    answers = iter((lambda beat: beat(), lambda beat: None))

    def deputy(beat: Callable[[], bool]) -> bool | None:
        return next(answers)(beat)

    member = Membership(database.alias, Settings(LEASE_SECONDS=60.0), lambda: None, clock=clock, deputy=deputy)
    member.start()
    for _ in range(2):
        clock.now += 50.0
        member.beat()
        clock.now += 50.0
        assert member.valid()
    assert next(answers, None) is None
    member.stop()


def test_a_deputy_announces_for_it_and_never_what_is_out_of_date(database: World, clock: Clock) -> None:
    """The load is told with every beat: from another connection, each would be an outside write."""
    told = [Endpoint("h", load=load) for load in range(3)]
    found = iter(told)
    late: list[Callable[[], bool]] = []
    patient = True

    def deputy(write: Callable[[], bool]) -> bool | None:
        if patient:
            return write()
        late.append(write)
        return None

    member = Membership(
        database.alias,
        Settings(LEASE_SECONDS=60.0),
        lambda: None,
        endpoint=lambda: next(found),
        clock=clock,
        deputy=deputy,
    )
    member.start()
    patient = False
    member.beat()
    patient = True
    member.beat()
    for write in late:
        write()
    assert len(late) == 2
    assert Nodes(database.alias).survey()[member.incarnation()].load == 2
    member.stop()


def test_a_store_thread_that_is_busy_or_fails_leaves_it_to_others() -> None:
    thread = StoreThread("busy", lambda call, *args: None, lambda: None)
    started, goes_on = threading.Event(), threading.Event()

    def busy() -> None:
        started.set()
        goes_on.wait(10)

    thread.submit(busy, lambda _: None)
    assert started.wait(10)
    assert thread.lend(lambda: True, 0.01) is None
    goes_on.set()
    assert thread.lend(lambda: True, 10.0) is True
    assert thread.lend(lambda: bool(1 // 0), 10.0) is None
    thread.stop()


@pytest.mark.parametrize("returns", [True, False])
def test_a_registration_that_breaks_off_leaves_no_node_behind(
    database: World, clock: Clock, monkeypatch: pytest.MonkeyPatch, returns: bool
) -> None:
    """B31, B35: its row says that it has all actors in memory only, and would hold back everybody for a lease."""
    nodes, connection = Nodes(database.alias), connections[database.alias]
    known, is_alone = connection.settings_dict, Nodes.is_alone

    def cut_off(mine: Nodes, incarnation: int) -> bool:
        assert nodes.alone_beside(0)
        hang_up(connection.connection)
        if database.backend == "sqlite":
            connection.connection.close()
        if not returns:
            connection.settings_dict = {**known, "HOST": "/nowhere", "NAME": "/nowhere/at all"}
        return is_alone(mine, incarnation)

    monkeypatch.setattr(Nodes, "is_alone", cut_off)
    settings = Settings(LEASE_SECONDS=60.0)
    member = Membership(database.alias, settings, lambda: None, clock=clock, seeks_solitude=True)
    with pytest.raises(DatabaseError, match="closed"):  # whatever came of signing off
        member.start()
    connection.settings_dict = known
    assert not member.valid()
    assert nodes.alone_beside(0) is not returns
    nodes._all().update(dead=True)
    monkeypatch.undo()
    member.start()
    assert member.valid()
    assert member.alone
    member.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here.")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_child_has_no_lease(member: Membership) -> None:
    """B78: an incarnation belongs to one process."""
    child = os.fork()
    if child == 0:
        os._exit(0 if not member.valid() and member.incarnation() == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert member.valid()


def test_a_process_that_is_gone_is_provably_dead() -> None:
    """§8: on the same host, at once."""
    me = this_process()
    if not me.host or not me.started:
        pytest.skip("This system doesn't tell its processes apart.")
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        other.wait()
    assert is_provably_dead(me._replace(pid=other.pid))
    assert is_provably_dead(me._replace(started="1"))
    assert not is_provably_dead(me)


@pytest.mark.parametrize("unknown", [{"host": ""}, {"host": "another"}, {"started": ""}])
def test_a_process_of_which_something_is_unknown_is_not(unknown: dict[str, str]) -> None:
    gone = Process(this_process().host, 2**22 + 1, "17")._replace(**unknown)
    assert not is_provably_dead(gone)


def test_a_dead_neighbour_s_rows_need_no_waiting(database: World) -> None:
    """§8: saving a file under the autoreloader must not freeze an actor."""
    me = this_process()
    if not me.host or not me.started:
        pytest.skip("This system doesn't tell its processes apart.")
    nodes = Nodes(database.alias)
    nodes.register(31, 3600.0)
    assert nodes.dead_among({31}) == set()
    Node.objects.using(database.alias).filter(pk=31).update(process_started="1")
    assert nodes.dead_among({31}) == {31}
    assert not nodes.heartbeat(31, 5.0)


def test_the_owner_is_described_for_people(database: World) -> None:
    nodes = Nodes(database.alias)
    nodes.register(32, 3600.0)
    assert str(os.getpid()) in nodes.describe(32)
    assert "33" in nodes.describe(33)


def test_old_tombstones_are_removed(database: World) -> None:
    nodes = Nodes(database.alias)
    nodes.register(34, 3600.0)
    Node.objects.using(database.alias).filter(pk=34).update(expires_at=1)
    nodes.register(35, 3600.0)
    assert list(Node.objects.using(database.alias).values_list("pk", flat=True)) == [35]


def test_the_database_s_clock_is_near_ours(database: World) -> None:
    import time

    assert abs(Nodes(database.alias).now() / 1_000_000 - time.time()) < 5.0
    connections[database.alias].close()
