"""A node that is cut off from the layer, from the database or from both, by a way that goes silent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.proxy import Proxy, environment
from tests.cluster.trial import LEASE, Trial, surroundings

LONG = 2.5 * LEASE  # seconds: others have taken over by then


class Partition:
    """A trial with one node whose ways to both servers can be cut."""

    def __init__(self, trial: Trial, database: Proxy, layer: Proxy) -> None:
        self.trial = trial
        self.ways = {"database": [database], "layer": [layer], "both": [database, layer]}
        (self.node,) = trial.begin(1, **environment(database, layer))
        trial.flow()  # it has all actors
        trial.begin(2)


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Partition]:
    with contextlib.ExitStack() as stack:
        group, postgres, redis = stack.enter_context(surroundings("postgresql", "redis", tmp_path))
        assert postgres is not None
        assert redis is not None
        database, layer = Proxy(postgres.socket), Proxy(redis.socket)
        stack.callback(database.close)
        stack.callback(layer.close)
        trial = Trial(1, group, tmp_path, postgres=postgres, redis=redis)
        stack.callback(trial.close)
        yield Partition(trial, database, layer)


@pytest.mark.parametrize(
    ("what", "forget"),
    [
        pytest.param(
            what,
            forget,
            id=f"{what}-{'forgotten' if forget else 'late'}",
            marks=pytest.mark.slow,
        )
        for what in ("layer", "database", "both")
        for forget in (False, True)
    ],
)
def test_a_node_is_cut_off_and_comes_back(partition: Partition, what: str, forget: bool) -> None:
    """B31, B43: it neither writes nor answers what others took over, they go on, and it finds back by itself."""
    trial, node = partition.trial, partition.node
    trial.flow()
    trial.note(f"cut {what}")
    for way in partition.ways[what]:
        way.cut()
    trial.cut_off.append(node)
    time.sleep(LONG)
    if what != "layer":  # else it is alive, and others wait for it
        for other in trial.members[1:]:
            trial.flow(other)
        trial.note("others go on")
    for way in partition.ways[what]:
        way.heal(forget=forget)
    trial.cut_off.remove(node)
    trial.note("healed")
    trial.flow(node)
    trial.note("all is well")
    print("\n".join(trial.log), trial.verify(), sep="\n")  # noqa: T201
