"""A node in a network of its own, whose cables to the layer and to the database are pulled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.namespaces import Namespace, NotPermitted
from tests.cluster.processes import Member
from tests.cluster.proxy import Proxy, environment
from tests.cluster.trial import LEASE, Trial, surroundings

LONG = 2.5 * LEASE  # seconds: others have taken over by then


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    try:
        found = Namespace()
        found.cable()
    except NotPermitted as error:
        pytest.skip(f"No network namespaces here; test_partitions.py has the same cuts in another way. {error}")
    yield found
    found.close()


class Apart:
    """A trial whose first node lives in the namespace and has all actors."""

    def __init__(self, trial: Trial, node: Member, cables: dict[str, list[str]]) -> None:
        self.trial = trial
        self.node = node
        self.cables = cables


@pytest.fixture
def apart(namespace: Namespace, tmp_path: Path) -> Iterator[Apart]:
    with contextlib.ExitStack() as stack:
        group, postgres, redis = stack.enter_context(surroundings("postgresql", "redis", tmp_path))
        assert postgres is not None
        assert redis is not None
        (database, at_database), (layer, at_layer) = namespace.cable(), namespace.cable()
        to_database, to_layer = Proxy(postgres.socket, at_database), Proxy(redis.socket, at_layer)
        stack.callback(to_database.close)
        stack.callback(to_layer.close)
        trial = Trial(2, group, tmp_path, postgres=postgres, redis=redis)
        stack.callback(trial.close)
        (node,) = trial.begin(1, within=namespace.command, **environment(to_database, to_layer))
        trial.cut_off.append(node)  # for clients of this host
        trial.flow(node)
        trial.begin(2)
        yield Apart(trial, node, {"database": [database], "layer": [layer], "both": [database, layer]})


@pytest.mark.slow
@pytest.mark.parametrize("what", ["both", "database", "layer"])
def test_cables_are_pulled_and_plugged_in_again(apart: Apart, what: str) -> None:
    """B31, B43: the node neither writes nor answers what others took over, they go on, and it finds back by itself."""
    trial = apart.trial
    trial.flow()
    trial.note(f"pull {what}")
    for cable in apart.cables[what]:
        Namespace.pull(cable)
    time.sleep(LONG)
    if what != "layer":  # else it is alive, and others wait for it
        for other in trial.members[1:]:
            trial.flow(other)
        trial.note("others go on")
    for cable in apart.cables[what]:
        Namespace.plug(cable)
    trial.note("plugged in")
    trial.flow(apart.node)
    trial.note("all is well")
    print("\n".join(trial.log), trial.verify(), sep="\n")  # noqa: T201
