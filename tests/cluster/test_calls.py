"""Calls between processes that host actors together, over one database and Unix sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.processes import Failed, Group, Member
from tests.databases import Databases

Pair = tuple[Member, Member]


@pytest.fixture(scope="module", params=["sqlite-unix", "postgresql-unix", "postgresql-redis"])
def trio(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Member]]:
    backend, _, carrier = request.param.partition("-")
    if backend == "postgresql":
        yield request.getfixturevalue(f"{carrier}_nodes").members
        return
    with Group(databases.sqlite(tmp_path_factory.mktemp("cluster"))) as group:
        yield group.start(3)


def test_one_activation_answers_all_nodes(trio: list[Member]) -> None:
    """B1: 100 clients on three nodes call at once; the row is loaded once."""
    key = trio[0].do("make", count=0)
    orders = [one.begin("ask_many", actor="live.Tally", key=key, message="add", args=[1], times=34) for one in trio]
    answers = sorted(answer for order in orders for answer in order.result(20))
    assert answers == list(range(1, 103))
    assert sum(one.do("log").count(["activate", key]) for one in trio) == 1
    assert {carrier for one in trio for carrier in one.do("links")} - {""} == {trio[0].carrier}  # "": one is gone


def test_calls_during_activation_queue_in_order(trio: list[Member]) -> None:
    """B6: also those that come from another node."""
    here, there, _ = trio
    key = there.do("make", count=0)
    there.do("activate_slowly", seconds=0.4)
    opening = there.asking(key, "record", 1000)
    there.until_logged(["activate", key])
    here.do("tell_in_order", actor="live.Tally", key=key, message="record", items=[1001, 1002, 1003])
    assert here.ask(key, "get") == 0
    there.do("activate_slowly", seconds=0)
    opening.result(10)
    assert [one for one in there.do("log") if isinstance(one, int) and 1000 <= one < 1010] == [1000, 1001, 1002, 1003]


def test_messages_from_one_sender_stay_in_order(trio: list[Member]) -> None:
    """B9: 500 messages to a slow actor on another node."""
    here, there, _ = trio
    key = there.make()
    here.do("tell_in_order", actor="live.Tally", key=key, message="record", items=list(range(-500, 1)))
    there.until_logged(0)
    there.do("open", gate="record")
    assert here.ask(key, "get") == 0
    assert [one for one in there.do("log") if isinstance(one, int) and one <= 0] == list(range(-500, 1))


def test_a_cycle_across_nodes_is_an_error_at_once(trio: list[Member]) -> None:
    """B12: A→B→A, on two nodes."""
    here, there, outside = trio
    one, other = here.make(), there.make()
    for member in (here, there, outside):
        began = time.monotonic()
        error = member.fail(one, "ask_other", other, one)
        assert time.monotonic() - began < 2
        assert error.kind == "DeadlockError"
        assert set(error.found["cycle"]) == {f"live.Tally:{one}", f"live.Tally:{other}"}


def test_a_reentrant_call_comes_back_across_nodes(trio: list[Member]) -> None:
    """B13: A→B→A completes where A's message opts in."""
    here, there, _ = trio
    one, other = here.make(), there.make()
    assert here.ask(one, "call_through", other) == 101
    assert there.ask(one, "get") == 1101
    assert here.ask(other, "get") == 1


def test_errors_arrive_as_themselves(trio: list[Member]) -> None:
    """B18, B26: declared ones with code and data, others without a secret; memory is what is stored."""
    here, there, _ = trio
    key = there.make(12)
    refused = here.fail(key, "fail_after_change")
    assert (refused.kind, refused.found["type"], refused.found["detail"]) == ("Rejected", "refused", {"at": 7})
    bug = here.fail(key, "bug")
    assert bug.kind == "InternalError"
    assert "secret" not in str(bug.found)
    assert here.fail(key, "add", "x").kind == "InvalidParams"
    assert here.fail(key, "wrong_result").kind == "InternalError"
    assert here.fail("999999", "get").kind == "ActorNotFound"
    assert here.fail(key, "add", 1).kind == "InternalError"  # the database refuses a count of 13
    assert here.ask(key, "get") == 12


def test_a_deadline_travels(trio: list[Member]) -> None:
    """B40, B52: what is left of it; what was queued until then never runs."""
    here, there, _ = trio
    key = there.make()
    held = there.asking(key, "hold", "deadline")
    there.until_logged(["holding", "deadline"])
    began = time.monotonic()
    late = here.fail(key, "add", 5, timeout=0.3)
    assert 0.2 < time.monotonic() - began < 2
    assert late.kind == "DeadlineExceeded"
    there.do("open", gate="deadline")
    assert held.result(10) == 1
    assert here.ask(key, "get") == 1


def test_a_cancelled_call_is_undone_there(trio: list[Member]) -> None:
    """B51."""
    here, there, _ = trio
    key = there.make()
    call = here.asking(key, "hold", "cancelled")
    there.until_logged(["holding", "cancelled"])
    here.do("cancel", number=call.number)
    with pytest.raises(Failed, match="CancelledError"):
        call.result(10)
    assert here.ask(key, "add", 2, timeout=5) == 2


def test_a_repeated_call_runs_once(trio: list[Member]) -> None:
    """B50: the same id from three nodes at once; nobody has the actor yet."""
    key = trio[0].do("make", count=0)
    calls = [member.asking(key, "pay", 7, call_id="the same") for member in trio for _ in range(5)]
    assert [call.result(10) for call in calls] == [7] * 15
    assert trio[1].ask(key, "get") == 7
    assert trio[2].fail(key, "pay", 8, call_id="the same").kind == "InvalidRequest"


def test_threads_and_plain_methods_reach_other_nodes(trio: list[Member]) -> None:
    """B68: `.sync()` from a thread, and `def` messages on the other side."""
    here, there, _ = trio
    key = there.make()
    assert here.do("ask_blocking", actor="live.Tally", key=key, message="blocking", args=[3]) == 3
    other: Any = here.make()
    assert here.ask(other, "read_then_ask", key) == 4
