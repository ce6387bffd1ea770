"""Actors move to a node that joins, while they are called."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import PATIENCE, Group, Member
from tests.databases import Databases

LEASE = "3"  # seconds; loads are told with heartbeats, three times as often


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def group(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Group]:
    with databases.open(request.param, tmp_path) as environment, Group(environment) as found:
        yield found


def held(actor: str, *members: Member) -> list[int]:
    return [len(member.do("held", actor=actor)) for member in members]


def until_held(actor: str, count: int, member: Member) -> None:
    until = time.monotonic() + PATIENCE
    while held(actor, member)[0] < count:
        assert time.monotonic() < until, held(actor, member)
        time.sleep(0.05)


def test_actors_move_to_a_node_that_joins_under_load(group: Group) -> None:
    """Design §4: no call fails, each sender's order is kept, and nobody waits long."""
    actor = "live.Levelled"
    three = group.start(3, LEASE_SECONDS=LEASE)
    keys = [f"k{number}" for number in range(48)]
    for key in keys:
        assert three[0].ask(key, "add", actor=actor) == 1
    loads = [
        member.begin("write_down", actor=actor, keys=keys, tag=tag, seconds=6.0)
        for member, tag in zip(three, "abc", strict=True)
    ]
    (fourth,) = group.start(1, LEASE_SECONDS=LEASE)
    until_held(actor, 3, fourth)
    told = [load.result(PATIENCE + 10) for load in loads]
    assert [error for one in told for error in one["errors"]] == []
    assert sum(held(actor, *three, fourth)) == len(keys)
    for key in keys:
        noted = three[0].ask(key, "noted", actor=actor)
        for one, tag in zip(told, "abc", strict=True):
            mine = [item for item in noted if item.startswith(tag)]
            assert mine == [f"{tag}{number}" for number in range(one["told"][key])]
    assert max(one["longest"] for one in told) < 2.0  # seconds; a busy machine's own pauses were at most 0.6


def test_what_waits_for_an_actor_goes_with_it_in_order(group: Group) -> None:
    """Design §4, B9: what was queued before, what comes while its row is given back, and what comes later."""
    actor = "live.Levelled"
    here, there = group.start(2, LEASE_SECONDS="60")
    key = next(key for number in range(30) if (key := make(here, f"m{number}")) in here.do("held", actor=actor))
    until = time.monotonic() + PATIENCE
    while here.do("known") < 1:
        assert time.monotonic() < until
    told = here.do("move_away", actor=actor, key=key)
    assert told > 50
    assert there.ask(key, "noted", actor=actor) == [str(number) for number in range(told)]
    assert key in there.do("held", actor=actor)
    assert key not in here.do("held", actor=actor)


def test_an_actor_that_remembers_answers_moves_with_them(group: Group) -> None:
    """B50, design §9.11: to a node that joins, as others do; a call that is sent again there has run already."""
    actor = "live.Levelled"
    (here,) = group.start(1, LEASE_SECONDS=LEASE)
    keys = [f"r{number}" for number in range(12)]
    for key in keys:
        assert here.ask(key, "add", 5, actor=actor, call_id="a") == 5
    (there,) = group.start(1, LEASE_SECONDS=LEASE)
    until_held(actor, 1, there)
    for key in there.do("held", actor=actor):
        assert there.ask(key, "add", 5, actor=actor, call_id="a") == 5
        assert here.ask(key, "add", 1, actor=actor) == 6
        assert here.fail(key, "add", 6, actor=actor, call_id="a").kind == "InvalidRequest"


def make(member: Member, key: str) -> str:
    member.ask(key, "add", actor="live.Levelled")
    return key
