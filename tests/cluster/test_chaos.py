"""Processes that are started, stopped and killed at random under load."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest

from tests.cluster.processes import Group, Member, database

SECONDS = 4.5
ROUNDS = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with database(request.param, tmp_path_factory.mktemp("cluster")) as environment:
        found = Group(environment)
        try:
            yield found
        finally:
            found.close()


@pytest.mark.parametrize("way", ["kill", "stop", "pause"])
def test_every_counter_equals_the_acknowledged_increments(group: Group, way: str) -> None:
    """B43: plus, at most, those that ended as OutcomeUnknown. Each round another node has the actors, and goes."""
    rng = random.Random(43)
    one, other = group.start(2, LEASE_SECONDS="2")
    for _ in range(ROUNDS):
        (victim,) = group.start(1, LEASE_SECONDS="2")
        keys = [victim.make(1000) for _ in range(6)]
        loads = [member.begin("count_up", keys=keys, seconds=SECONDS) for member in (one, other)]
        time.sleep(rng.uniform(0.3, 0.9))
        end(victim, way, rng)
        told = [load.result(SECONDS + 20) for load in loads]
        for key in keys:
            count = one.ask(key, "get", timeout=10) - 1000
            theirs = sum(found[key][0] for found in told)
            doubtful = sum(found[key][1] for found in told)
            assert theirs <= count, (key, told)
            assert count <= theirs + doubtful, (key, told)
            if way == "stop":
                assert [problem for found in told for problem in found[key][2]] == []


def end(victim: Member, way: str, rng: random.Random) -> None:
    if way == "stop":
        victim.do("stop", grace=5.0)
    elif way == "pause":
        victim.send(signal.SIGSTOP)
        time.sleep(rng.uniform(0.5, 3.0))
        victim.send(signal.SIGCONT)
        time.sleep(rng.uniform(0.0, 0.5))
    victim.kill()
