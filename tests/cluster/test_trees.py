"""Actors that call each other in random trees, on workers that are killed."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

import pytest

from tests.cluster.processes import Failed, Group, Member
from tests.cluster.trees import Tree, leaf, misfits, planted
from tests.databases import Databases
from tests.services import Redis

ACTOR = "cluster.Leaf"
ACTORS = 8
KILLS = 3
AT_ONCE = 12  # trees that are under way
TIMEOUT = 8.0  # seconds


class Grove:
    """Trees that are planted on workers, one after another, and how each ended."""

    def __init__(self, rng: random.Random, group: Group) -> None:
        self.rng = rng
        self.workers = group.start(3, LEASE_SECONDS="60")
        self.trees: list[tuple[Tree, str, Member, Future[Any]]] = []

    def plant(self) -> None:
        """One more, on any worker."""
        tree = planted(self.rng, str(len(self.trees)), ACTORS)
        message, worker = self.rng.choice(["grow", "grow_at_once"]), self.rng.choice(self.workers)
        order = worker.asking(leaf(tree.key), message, tree.name, tree.arguments(), actor=ACTOR, timeout=TIMEOUT)
        self.trees.append((tree, message, worker, order))

    def tend(self, seconds: float) -> None:
        """Keep so many under way for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            under_way = [order for *_, worker, order in self.trees if worker in self.workers and not order.done()]
            if len(under_way) >= AT_ONCE:
                wait(under_way, 0.1, "FIRST_COMPLETED")
            else:
                self.plant()

    def replace_one(self, group: Group) -> None:
        worker = self.rng.choice(self.workers)
        worker.kill()
        self.workers.remove(worker)
        self.workers += group.start(1, LEASE_SECONDS="60")

    def ended(self, worker: Member, order: Future[Any]) -> str:
        """How a tree's root ended; empty if its worker was killed before it could say so."""
        if not order.done() and worker not in self.workers:
            return ""
        try:
            order.result(TIMEOUT + 5)
        except Failed as failed:
            return failed.kind
        return "ok"

    def done(self) -> dict[int, Counter[str]]:
        """What has happened to each actor."""
        (worker, *_) = self.workers
        return {key: Counter(worker.ask(leaf(key), "get", actor=ACTOR, timeout=10)) for key in range(ACTORS)}


@pytest.fixture
def group(databases: Databases, shared_redis: Redis) -> Iterator[Group]:
    with databases.postgresql() as environment, Group({**environment, "LAYER_REDIS": shared_redis.url}) as found:
        yield found


def test_the_final_state_is_that_of_a_simulation(group: Group) -> None:
    """B54: whatever was acknowledged has happened, once, with all that it called; nothing else that can't have."""
    seed = int(os.environ.get("LIGHTMOON_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"LIGHTMOON_CHAOS_SEED={seed}")  # noqa: T201
    grove = Grove(random.Random(seed), group)
    for _ in range(KILLS):
        grove.tend(grove.rng.uniform(0.5, 1.5))
        grove.replace_one(group)
    grove.tend(1.0)
    ends = [grove.ended(worker, order) for *_, worker, order in grove.trees]
    done = grove.done()
    wrong = [
        text
        for (tree, message, *_), end in zip(grove.trees, ends, strict=True)
        for text in misfits(tree, end, message == "grow", done)
    ]
    assert wrong == [], f"seed {seed}, {Counter(ends)}"
    assert {end for end in ends if end} <= {"ok", "OutcomeUnknown", "Conflict", "Unavailable", "DeadlineExceeded"}
    known = {one.name for tree, *_ in grove.trees for one in tree.walk()}
    assert {name for names in done.values() for name in names} <= known
    assert ends.count("ok") > 50
    print(Counter(ends))  # noqa: T201


def test_a_simulation_tells_what_does_not_fit() -> None:
    """The judge itself."""
    tree = Tree(0, "0", [Tree(1, "0.0", [Tree(2, "0.0.0", ())]), Tree(2, "0.1", ())])

    def judged(ended: str, *names: str, in_order: bool = True) -> list[str]:
        done: dict[int, Counter[str]] = {0: Counter(), 1: Counter(), 2: Counter()}
        for one in tree.walk():
            done[one.key][one.name] += names.count(one.name)
        return misfits(tree, ended, in_order, done)

    everything = ("0", "0.0", "0.0.0", "0.1")
    assert judged("ok", *everything) == []
    assert judged("ok", "0", "0.0", "0.1") != []
    assert judged("OutcomeUnknown", *everything, "0.1") == ["0.1 happened 2 times"]
    for part in ((), ("0.0.0",), ("0.0", "0.0.0"), ("0.0", "0.0.0", "0.1")):
        assert judged("Conflict", *part) == []
    assert judged("Conflict", *everything) == ["0 ended with Conflict and happened"]
    assert judged("", *everything) == []
    assert judged("Conflict", "0.0", "0.1") != []
    assert judged("Conflict", "0.0", "0.1", in_order=False) == []
