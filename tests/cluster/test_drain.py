"""Processes that stop gracefully, under load, while others stay."""

from __future__ import annotations

import signal
import time

from tests.cluster.processes import PATIENCE, Group


def test_a_graceful_stop_loses_nothing_of_those_who_stay(group: Group) -> None:
    """B42: two nodes count under load while two others stop; no error reaches anybody, and every count is there."""
    one, other, leaving, late = group.start(4, LEASE_SECONDS="60")
    keys = [(leaving if number % 2 else late).make(1000) for number in range(12)]
    idle = leaving.make(7)  # nobody calls it while its node stops
    loads = [member.begin("count_up", keys=keys, seconds=3.0) for member in (one, other)]
    for count, member in ((1005, leaving), (1020, late)):
        one.until(lambda: all(one.ask(key, "get") > count for key in keys), True)  # noqa: B023
        member.do("stop", grace=10.0)
    told = [load.result(20) for load in loads]
    assert [problem for found in told for key in keys for problem in found[key][2]] == []
    for key in keys:
        assert one.ask(key, "get") == 1000 + sum(found[key][0] for found in told)
    assert sum(found[key][0] for found in told for key in keys) > 100
    assert other.ask(idle, "add", timeout=5) == 8


def test_what_is_queued_goes_to_a_node_that_stays(group: Group) -> None:
    """B42: the turn that runs ends where it is; calls that wait for it, its own node's too, are handed on in order."""
    here, there = group.start(2, LEASE_SECONDS="60")
    key = there.make(1000)
    held = here.asking(key, "hold", "g")
    there.until_logged(["holding", "g"])
    queued = [there.asking(key, "note", "a"), there.asking(key, "note", "b")]
    there.until_waiting(key, 2)
    queued.append(here.asking(key, "add", 1))
    there.until_waiting(key, 3)
    stopping = there.begin("stop", grace=10.0)
    there.until(lambda: there.do("stopping"), True)
    queued.append(here.asking(key, "add", 1))
    assert not any(call.done() for call in queued)
    there.do("open", gate="g")
    assert held.result(5) == 1001
    assert stopping.result(10) is None
    assert [call.result(5) for call in queued] == [1, 2, 1002, 1003]
    assert here.do("has", actor="live.Tally", key=key)


def test_what_was_answered_is_remembered_by_the_node_that_stays(group: Group) -> None:
    """B50, design §9.11: a call that is sent again, with the same id, after its actor's node has stopped."""
    here, there = group.start(2, LEASE_SECONDS="60")
    known, unknown = there.make(0), there.make(0)
    assert there.ask(known, "add", 1, call_id="a") == 1
    assert here.ask(known, "add", 1, call_id="b") == 2
    assert there.ask(unknown, "add", 1) == 1
    there.do("stop", grace=10.0)
    assert here.do("has", actor="live.Tally", key=known)
    assert not here.do("has", actor="live.Tally", key=unknown)
    assert [here.ask(known, "add", 1, call_id=id) for id in "ab"] == [1, 2]
    assert here.ask(known, "get") == 2


def test_a_repeated_call_waits_for_the_answers_that_follow_the_actor(group: Group) -> None:
    """B50: it gets to the new owner while the old one, which has given the row back, is still busy with something."""
    here, there = group.start(2, LEASE_SECONDS="60")
    key, other = there.make(0), there.make(0)
    assert there.ask(key, "add", 1, call_id="a") == 1
    assert here.ask(other, "add", 1) == 1  # they know each other
    there.do("give_away", actor="live.Tally", key=key, blocked=1.0)
    time.sleep(0.2)
    assert here.ask(key, "get") == 1
    assert here.do("has", actor="live.Tally", key=key)
    calls = [here.asking(key, "add", 1, call_id=id) for id in ("a", "new", "a")]
    assert [call.result(5) for call in calls] == [1, 2, 1]
    assert here.ask(key, "get") == 2


def test_a_repeated_call_does_not_wait_for_ever_for_an_owner_that_has_died(group: Group) -> None:
    """B50, B43: what was remembered in memory only is lost with it; calls go on."""
    here, there = group.start(2, LEASE_SECONDS="60")
    key, other = there.make(0), there.make(0)
    assert there.ask(key, "add", 1, call_id="a") == 1
    assert here.ask(other, "add", 1) == 1
    there.do("give_away", actor="live.Tally", key=key, blocked=60.0)
    time.sleep(0.2)
    first = here.asking(key, "add", 1, call_id="b")
    there.kill()
    began = time.monotonic()
    assert first.result(10) == 2
    assert time.monotonic() - began < 5.0
    assert here.ask(key, "add", 1, call_id="c") == 3
    assert time.monotonic() - began < 5.0


def test_who_reads_slowly_gets_its_answers_from_a_node_that_stops(group: Group) -> None:
    """B42: more than a link takes at once, for a node that reads nothing for longer than a second."""
    here, there = group.start(2, LEASE_SECONDS="60")
    key = there.make()
    assert there.ask(key, "note", "x" * 600_000) == 1
    held = here.asking(key, "hold", "g")
    there.until_logged(["holding", "g"])
    calls = [here.asking(key, "get_data") for _ in range(25)]
    there.until_waiting(key, 25)
    here.send(signal.SIGSTOP)
    there.do("open", gate="g")
    there.until_waiting(key, 0)
    stopped = there.begin("stop", grace=10.0)
    time.sleep(2.0)
    here.send(signal.SIGCONT)
    assert held.result(PATIENCE) == 1
    assert {len(call.result(PATIENCE)["items"]) for call in calls} == {1}
    stopped.result(PATIENCE)
