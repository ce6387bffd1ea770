"""Everything that can happen to a cluster, at random, under load, on real processes.

The seed is printed. LIGHTMOON_CHAOS_SEED=… repeats a run's faults, and LIGHTMOON_CHAOS_SECONDS=… makes a long run of
another length.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.chaos import Chaos
from tests.cluster.trial import surroundings

SHORT = 30.0  # seconds
LONG = 300.0  # seconds


@pytest.fixture
def seed() -> int:
    found = int(os.environ.get("LIGHTMOON_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"LIGHTMOON_CHAOS_SEED={found}")  # noqa: T201
    return found


@pytest.fixture
def chaos(request: pytest.FixtureRequest, seed: int, tmp_path: Path) -> Iterator[Chaos]:
    backend, _, carrier = request.param.partition("-")
    with surroundings(backend, carrier, tmp_path) as (group, postgres, redis):
        found = Chaos(seed, group, tmp_path, postgres=postgres, redis=redis)
        try:
            yield found
        finally:
            found.close()


def judge(chaos: Chaos, seconds: float) -> None:
    chaos.run(seconds)
    print(chaos.verify(), *chaos.log, sep="\n")  # noqa: T201


@pytest.mark.parametrize("chaos", ["postgresql-redis"], indirect=True)
def test_nothing_is_lost_doubled_or_reordered(chaos: Chaos) -> None:
    """B43, B44, B35, B31, B42, B55: every history is linearizable, every stream without a gap, every call ends."""
    judge(chaos, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(LONG + 300)
@pytest.mark.parametrize(
    ("chaos", "seconds"),
    [("postgresql-redis", LONG), ("postgresql-unix", LONG / 5), ("sqlite-unix", LONG / 5)],
    indirect=["chaos"],
)
def test_nothing_is_lost_doubled_or_reordered_for_minutes(chaos: Chaos, seconds: float) -> None:
    """B43: nodes started, stopped, paused and killed, the layer and the database restarted, for minutes."""
    judge(chaos, float(os.environ.get("LIGHTMOON_CHAOS_SECONDS", seconds)))
