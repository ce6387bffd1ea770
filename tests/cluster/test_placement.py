"""Where actors come to live that nobody has (design §4)."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import PATIENCE, Group, Member
from tests.databases import Databases


@pytest.fixture
def group(databases: Databases, tmp_path: Path) -> Iterator[Group]:
    """What differs between databases is in the contract of stores."""
    with Group(databases.sqlite(tmp_path)) as found:
        yield found


def acquainted(*members: Member) -> None:
    """Each knows all others."""
    until = time.monotonic() + PATIENCE
    while any(member.do("known") < len(members) - 1 for member in members):
        assert time.monotonic() < until, [member.do("known") for member in members]


def counts(actor: str, *members: Member) -> list[int]:
    return [len(member.do("held", actor=actor)) for member in members]


def call_all(caller: Member, actor: str, prefix: str, how_many: int) -> None:
    calls = [caller.asking(f"{prefix}{number}", "add", actor=actor) for number in range(how_many)]
    assert [call.result(PATIENCE) for call in calls] == [1] * how_many


def test_a_node_whose_first_looks_fail_finds_the_others_and_is_found(group: Group) -> None:
    """B35: the one that looked before it was there looks no more by itself."""
    (first,) = group.start(1)
    first.until(lambda: first.do("looked"), True)
    (second,) = group.start(1, BLIND_LOOKS="4")
    acquainted(first, second)


def test_who_can_not_listen_is_not_waited_for(group: Group) -> None:
    """Design §4: neither it nor the others can send calls there, and what it has is still nobody else's."""
    (first,) = group.start(1)
    (deaf,) = group.start(1, DEAF="yes")
    for here, there, key in ((first, deaf, "a"), (deaf, first, "b")):
        for actor in ("cluster.Den", "live.Strewn"):
            assert here.ask(key, "add", actor=actor) == 1
            assert there.fail(key, "add", actor=actor, timeout=10).kind == "Unavailable"


def test_random_actors_are_strewn(group: Group) -> None:
    """Design §4: over all that host; each answers from anywhere, and a gateway hosts none."""
    (door,) = group.start(1, ROLES="gateway")
    one, other = group.start(2)
    acquainted(door, one, other)
    call_all(door, "live.Strewn", "s", 40)
    one.until(lambda: sum(counts("live.Strewn", one, other)), 40)  # some may be on their way from one to the other
    here, there, none = counts("live.Strewn", one, other, door)
    assert min(here, there) > 5
    assert none == 0
    assert [one.ask(f"s{number}", "add", actor="live.Strewn") for number in range(40)] == [2] * 40


def test_local_actors_live_where_they_are_called_but_never_in_a_gateway(group: Group) -> None:
    """Design §4: a gateway lets a host have what nobody has, and finds what somebody has."""
    (door,) = group.start(1, ROLES="gateway")
    one, other = group.start(2)
    acquainted(door, one, other)
    mine = one.make(5)
    assert door.ask(mine, "add") == 6
    fresh = door.do("make", count=1)
    assert door.ask(fresh, "add") == 2
    assert counts("live.Tally", door) == [0]
    assert sum(counts("live.Tally", one, other)) == 2
    assert one.do("has", actor="live.Tally", key=mine)


def test_the_least_loaded_of_two_hosts_gets_the_actor(group: Group) -> None:
    """Design §4: what each has to do is known from its heartbeats, and by what it was given since."""
    busy, idle = group.start(2, LEASE_SECONDS="3")
    acquainted(busy, idle)
    for _ in range(30):
        busy.make()
    until = time.monotonic() + PATIENCE
    while idle.do("load_of_others") != [30]:  # until a heartbeat has told
        assert time.monotonic() < until, idle.do("load_of_others")
        time.sleep(0.05)
    call_all(busy, "live.Levelled", "l", 10)
    call_all(idle, "live.Levelled", "m", 10)
    assert counts("live.Levelled", busy, idle) == [0, 20]


def test_processes_that_start_at_once_find_each_other(group: Group) -> None:
    """Though each looks for others before the other one can register."""
    with contextlib.closing(sqlite3.connect(group.environment["SERVER_SQLITE"], isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        one, other = group.start(2)
        for member in (one, other):
            member.until(lambda: member.do("looked"), True)  # noqa: B023
        writer.execute("COMMIT")
    acquainted(one, other)


def test_a_role_has_its_actors(group: Group) -> None:
    """Design §4: only processes that have it host them; without any of them the call says so at once."""
    (web,) = group.start(1, ROLES="web")
    refused = web.fail("chess", "add", actor="live.Game")
    assert refused.kind == "Unavailable"
    assert "the role 'game'" in str(refused)
    (game,) = group.start(1, ROLES="game web")
    acquainted(web, game)
    call_all(web, "live.Game", "g", 10)
    assert counts("live.Game", web, game) == [0, 10]
    (all_round,) = group.start(1)
    acquainted(web, game, all_round)
    call_all(all_round, "live.Game", "h", 10)
    assert counts("live.Game", web, game, all_round) == [0, 20, 0]


def test_a_stale_choice_is_corrected(group: Group) -> None:
    """Design §4: the chosen node has just been killed, or is draining; another one takes the actor."""
    (door,) = group.start(1, ROLES="gateway")
    staying, killed, leaving = group.start(3)
    acquainted(door, staying, killed, leaving)
    stuck = leaving.make()
    holding = leaving.asking(stuck, "hold", "stuck")
    leaving.until_logged(["holding", "stuck"])
    killed.kill()
    stopping = leaving.begin("stop", grace=10.0)
    calls = [door.asking(f"stale{number}", "add", actor="live.Strewn", timeout=10) for number in range(30)]
    assert [call.result(PATIENCE) for call in calls] == [1] * 30
    leaving.do("open", gate="stuck")
    assert holding.result(PATIENCE) == 1
    stopping.result(PATIENCE)
    calls = [door.asking(f"stale{number}", "add", actor="live.Strewn", timeout=10) for number in range(30)]
    assert [call.result(PATIENCE) for call in calls] == [2] * 30
    assert counts("live.Strewn", staying) == [30]


def test_actors_in_memory_only_live_where_their_class_says(group: Group) -> None:
    """Design §4: strewn at random, on processes with the role, never in a gateway; each answers from anywhere."""
    (door,) = group.start(1, ROLES="gateway")
    (web,) = group.start(1, ROLES="web")
    (game,) = group.start(1, ROLES="game web")
    acquainted(door, web, game)
    for actor in ("cluster.Wisp", "cluster.Arcade", "cluster.Den"):
        call_all(door, actor, "", 20)
        assert [web.ask(f"{number}", "add", actor=actor) for number in range(20)] == [2] * 20
    here, there, none = counts("cluster.Wisp", web, game, door)
    assert here + there == 20
    assert min(here, there) > 1
    assert none == 0
    assert counts("cluster.Arcade", web, game, door) == [0, 20, 0]
    assert counts("cluster.Den", door) == [0]
