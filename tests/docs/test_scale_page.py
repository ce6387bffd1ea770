"""docs/scale.md says what its model says, and the model counts what the package does."""

from __future__ import annotations

import dataclasses

import pytest

from bench.scale import units as unit_costs
from bench.scale.__main__ import PAGE, with_tables
from bench.scale.model import BEATS, BUSY, LOOKS, QUIET, SURVEYS, Limits, Shape, Workload, loads, nodes_needed
from bench.scale.tables import everything
from lightmoon_django.cluster.membership import BEATS_PER_LEASE
from lightmoon_django.cluster.peers import PERIOD
from lightmoon_django.conf import Settings
from lightmoon_django.runtime.sleeper import POLL

UNITS = unit_costs.load()


def test_the_page_shows_what_the_program_prints() -> None:
    """From the unit costs that are kept beside it."""
    page = PAGE.read_text()
    assert page == with_tables(page, everything(UNITS, Limits()))


def test_the_model_counts_what_nodes_do() -> None:
    """Its rates are the package's own."""
    assert pytest.approx(BEATS) == BEATS_PER_LEASE / Settings().LEASE_SECONDS
    assert pytest.approx(SURVEYS) == 1 / PERIOD
    assert pytest.approx(LOOKS) == 1 / POLL


@pytest.mark.parametrize("work", [QUIET, BUSY], ids=lambda work: work.name)
def test_what_is_divided_gets_smaller(work: Workload) -> None:
    """Databases take rows off each other, Redis servers packets; only nodes of its own take upkeep off a database."""
    whole = loads(Shape(nodes=100, actors=10**7), work, UNITS)
    spread = loads(Shape(nodes=100, actors=10**7, databases=10, redis=10), work, UNITS)
    split = loads(Shape(nodes=100, actors=10**7, databases=10, redis=10, partitioned=True), work, UNITS)
    assert spread.redis_cores == pytest.approx(whole.redis_cores / 10)
    assert spread.database_log == pytest.approx(whole.database_log / 10)
    assert spread.database_upkeep == whole.database_upkeep
    assert split.database_upkeep < whole.database_upkeep / 10
    assert split.database_connections == whole.database_connections / 10


def test_upkeep_grows_with_the_square_of_the_nodes_at_last() -> None:
    """And idle actors add nothing to it."""
    small, large = (loads(Shape(nodes=n, actors=0), BUSY, UNITS).database_upkeep for n in (1000, 10_000))
    assert 50 < large / small < 100
    asleep = dataclasses.replace(QUIET, calls=0.0, in_memory=0.0, clients=0.0, followers=0.0, events=0.0)
    none, many = (loads(Shape(nodes=10, actors=n), asleep, UNITS) for n in (0, 10**8))
    assert dataclasses.replace(many, database_disk=0.0) == none


def test_more_nodes_are_needed_for_more_actors() -> None:
    """As few as carry them."""
    limits = Limits()
    needed = [nodes_needed(actors, BUSY, UNITS, limits) for actors in (10**5, 10**6, 10**7)]
    assert needed == sorted(needed)
    enough = loads(Shape(nodes=needed[1], actors=10**6), BUSY, UNITS)
    assert enough.node_cores <= limits.node_cores
    short = loads(Shape(nodes=needed[1] - 1, actors=10**6), BUSY, UNITS)
    assert short.node_cores > limits.node_cores or short.node_memory > limits.node_memory
