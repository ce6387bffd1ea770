"""Actors that live in memory only: one of a key among all processes, however those come and go."""

from __future__ import annotations

import concurrent.futures
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import Failed, Group, Member, carried_by
from tests.databases import Databases

LEASE = 1.0  # seconds

DEN, FLY = "cluster.Den", "cluster.Fly"


@pytest.fixture(scope="module", params=["unix", pytest.param("layer", marks=pytest.mark.slow)])
def way(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, str]]]:
    """Processes of one host over SQLite, and machines over PostgreSQL, by a channel layer that is bad."""
    with carried_by(request.param) as found:
        yield "sqlite" if request.param == "unix" else "postgresql", found


@pytest.fixture
def environment(way: tuple[str, dict[str, str]], databases: Databases, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A database of its own for each test that ends processes: what stops gives its actors to whoever is there."""
    backend, carrier = way
    with databases.open(backend, tmp_path) as found:
        yield {**found, **carrier, "LEASE_SECONDS": str(LEASE)}


@pytest.fixture(scope="module")
def trio(
    way: tuple[str, dict[str, str]], databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Member]]:
    """For tests that end none of them."""
    backend, carrier = way
    with (
        databases.open(backend, tmp_path_factory.mktemp("trio")) as found,
        Group({**found, **carrier, "LEASE_SECONDS": "60"}) as group,
    ):
        yield group.start(3)


@pytest.fixture
def key() -> str:
    """Of an actor that nobody has called yet."""
    return f"key {time.monotonic_ns()}"


def _ask(member: Member, key: str, message: str, *args: Any, actor: str = DEN) -> Any:
    return member.ask(key, message, *args, actor=actor, timeout=10)


def _results(calls: list[concurrent.futures.Future[Any]]) -> list[Any]:
    return [call.result(15) for call in calls]


def _holders(actor: str, *members: Member) -> list[list[str]]:
    return [member.do("held", actor=actor) for member in members]


def test_all_processes_call_the_same_one(trio: list[Member], key: str) -> None:
    """B1, B6: also when all of them are the first to call it; `async def` and `def` messages alike."""
    keys = [f"{key} {number}" for number in range(20)]
    calls = [
        member.asking(one, message, actor=DEN)
        for _ in range(3)
        for one in keys
        for member, message in zip(trio, ("add", "add_blocking", "add"), strict=True)
    ]
    assert sorted(_results(calls)) == sorted(list(range(1, 10)) * len(keys))
    held = [one for some in _holders(DEN, *trio) for one in some]
    assert sorted(one for one in held if one in keys) == sorted(keys)


def test_a_process_that_was_alone_shares_what_it_has(environment: dict[str, str], key: str) -> None:
    """It claims nothing until another one comes; then both have one of each, with all that it had counted."""
    with Group({**environment, "LEASE_SECONDS": "60"}) as group:
        (first,) = group.start(1)
        keys = [f"{key} {number}" for number in range(10)]
        first.until(partial(first.do, "alone"), True)
        left = first.do("places")  # of those that died in other tests
        assert _results([first.asking(one, "add", 5, actor=DEN) for one in keys]) == [5] * 10
        assert first.do("places") == left
        held = first.asking(key, "hold", "g", 5, actor=DEN)
        first.until_logged(["holding", "g"])
        (second,) = group.start(1)
        calls = [second.asking(one, "add", actor=DEN) for one in (*keys, key)]
        first.do("open", gate="g")
        assert _results(calls) == [6] * 11
        assert held.result(10) == 5
        assert _results([first.asking(one, "add", actor=DEN) for one in keys]) == [7] * 10
        assert first.do("alone") is False
        assert first.do("places") == left + 11
        assert _holders(DEN, second) == [[]]


def test_a_process_that_dies_takes_them_along_and_another_has_them_anew(environment: dict[str, str]) -> None:
    """B42: within the lease and a second, where nobody can tell that it died; with nothing of what was counted."""
    with Group(environment) as group:
        here, there = group.start(2)
        keys = [f"died {number}" for number in range(5)]
        for key in keys:
            assert _ask(there, key, "add", 100) == 100
            assert _ask(here, key, "add") == 101
        there.kill()
        began = time.monotonic()
        calls = [here.asking(key, "add", actor=DEN, timeout=10) for key in keys]
        told = [_result_or_kind(call) for call in calls]
        assert told in ([1] * 5, ["OutcomeUnknown"] * 5)  # as it died before they were sent, or after
        again = [here.asking(key, "add", actor=DEN, timeout=10) for key in keys]
        assert _results(again) == [2 if one == 1 else 1 for one in told]
        assert time.monotonic() - began < LEASE + 1
        assert _holders(DEN, here) == [keys]


def _result_or_kind(call: concurrent.futures.Future[Any]) -> Any:
    try:
        return call.result(15)
    except Failed as failed:
        return failed.kind


def test_a_process_that_stops_hands_their_calls_on(environment: dict[str, str]) -> None:
    """B42: the turn that runs ends where it is; what waits runs where the actor begins anew. No errors."""
    with Group({**environment, "LEASE_SECONDS": "60"}) as group:
        here, there = group.start(2)
        assert _ask(there, "stop", "add", 100) == 100
        assert _ask(there, "idle", "add", 100) == 100
        held = here.asking("stop", "hold", "g", actor=DEN)
        there.until_logged(["holding", "g"])
        queued = [one.asking("stop", "add", actor=DEN) for one in (here, there, here)]
        assert _ask(here, "another", "add") == 1
        stopping = there.begin("stop", grace=10.0)
        there.until(partial(there.do, "stopping"), True)
        there.do("open", gate="g")
        assert held.result(10) == 101
        stopping.result(15)
        assert sorted(_results(queued)) == [1, 2, 3]
        assert _ask(here, "idle", "add") == 1
        assert _holders(DEN, here) == [["another", "idle", "stop"]]


def test_a_process_that_was_paused_past_its_lease_answers_with_none_of_them(environment: dict[str, str]) -> None:
    """B31: another has the actor meanwhile. What the paused one is asked as soon as it resumes, the other answers."""
    with Group(environment) as group:
        here, there = group.start(2)
        for key in ("paused", "blocking", "later"):
            assert _ask(there, key, "add", 100) == 100
            assert _ask(here, key, "add") == 101
        held = [there.asking(key, "hold", key, 1000, actor=DEN) for key in ("paused", "later")]
        for key in ("paused", "later"):
            there.until_logged(["holding", key])
        there.send(signal.SIGSTOP)
        lost = [here.asking(key, "add", actor=DEN, timeout=10) for key in ("paused", "blocking")]
        told = [_result_or_kind(call) for call in lost]
        assert set(told) <= {"OutcomeUnknown", 1}  # as they had come to the one that paused, or not
        one, other = (2 if found == 1 else 1 for found in told)
        assert [_ask(here, key, "add") for key in ("paused", "blocking", "later")] == [one, other, 1]
        opened = there.begin("open", gate="paused")
        waiting = [
            there.asking(key, message, actor=DEN, timeout=10)
            for key, message in (("paused", "add"), ("blocking", "add_blocking"))
        ]
        there.send(signal.SIGCONT)
        opened.result(10)
        there.until(partial(there.do, "has", actor=DEN, key="later"), False)
        there.do("open", gate="later")
        assert [_result_or_kind(call) for call in held] == ["Conflict"] * 2
        assert _results(waiting) == [one + 1, other + 1]
        assert [_ask(here, key, "add") for key in ("paused", "blocking")] == [one + 2, other + 2]
        assert _ask(there, "later", "add") == 2


def test_they_are_followed_from_everywhere(trio: list[Member], key: str) -> None:
    """B55: state, events and presence of one that lives in another process, and a reset when that is over."""
    owner, here, there = trio
    assert _ask(owner, key, "add") == 1
    for member, name in ((here, "ada"), (there, "bob")):
        member.do("dial", client=name, cookie=member.do("log_in", name=name))
        joined = member.do("call", client=name, method="lm.subscribe", params=[DEN, key])
        assert joined["state"] == {"count": 1}
    there.until(lambda: _ask(there, key, "visitors"), ["ada", "bob"])
    assert here.do("call", client="ada", method=f"{DEN}.add", params=[key, 5]) == 6
    for member, name in ((here, "ada"), (there, "bob")):
        member.until_heard(name, lambda frames: any(_tells_of(one, 6) for one in frames))
    there.do("hang_up", client="bob")
    here.until(lambda: _ask(here, key, "visitors"), ["ada"])
    assert [member.do("has", actor=DEN, key=key) for member in trio] == [True, False, False]


def _tells_of(frame: Any, count: int) -> bool:
    return frame["method"] == "lm.event" and frame["params"]["data"]["count"] == count


def test_one_that_was_idle_leaves_its_place_to_others(trio: list[Member], key: str) -> None:
    """It begins anew where it is called next."""
    here, there, _ = trio
    assert _ask(here, key, "add", 5, actor=FLY) == 5
    here.until(partial(here.do, "has", actor=FLY, key=key), False)
    assert _ask(there, key, "add", actor=FLY) == 1
    assert _holders(FLY, here) == [[]]
