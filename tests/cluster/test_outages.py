"""What fails under a cluster: the layer, the database, a node's own time. On three real processes, under load."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.load import TIMEOUT
from tests.cluster.trial import LEASE, Trial, surroundings


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with contextlib.ExitStack() as stack:
        group, postgres, redis = stack.enter_context(surroundings("postgresql", "redis", tmp_path))
        found = Trial(7, group, tmp_path, postgres=postgres, redis=redis)
        stack.callback(found.close)
        yield found


def conclude(trial: Trial) -> str:
    summary = trial.verify()
    print("\n".join(trial.log), summary, sep="\n")  # noqa: T201
    return summary


def test_redis_fails_and_traffic_resumes_by_itself(trial: Trial) -> None:
    """B44: no state is lost; what was on its way is sent again, or ends as OutcomeUnknown."""
    owner, *_ = trial.begin(1)
    trial.flow(owner)  # it has all actors, so the others' calls go through Redis
    others = trial.begin(2)
    assert trial.redis is not None
    for what in ("restarted", "flushed", "restarted"):
        trial.flow()
        assert {carrier for one in others for carrier in one.do("links")} == {"layer"}
        trial.note(f"Redis is {what}")
        if what == "flushed":
            trial.redis.flush()
        else:
            trial.redis.kill()
            time.sleep(0.5)
            trial.redis.start()
        again = time.monotonic()
        trial.flow()
        assert time.monotonic() - again < TIMEOUT
    told = conclude(trial)
    assert "Conflict" not in told
    assert all(one.resets == 0 for one in trial.followers.all)  # a stream's frames are sent again, too


@pytest.mark.parametrize("away", [1.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_postgresql_goes_away_and_comes_back(trial: Trial, away: float) -> None:
    """B35: callers wait or hear of it by their deadline, and no acknowledged change is missing."""
    trial.begin(3)
    trial.flow()
    assert trial.postgres is not None
    trial.note("PostgreSQL stops")
    trial.postgres.stop()
    time.sleep(away)
    trial.postgres.start()
    trial.note("PostgreSQL is back")
    trial.flow()
    trial.note("all is well")
    conclude(trial)


def test_a_node_that_slept_past_its_lease_neither_writes_nor_answers(trial: Trial) -> None:
    """B31: it has all actors when it is stopped, with turns under way; others take over while it sleeps."""
    (sleeper,) = trial.begin(1)
    trial.flow(sleeper)
    others = trial.begin(2)
    trial.flow()
    trial.note("SIGSTOP")
    trial.cut_off.append(sleeper)
    sleeper.send(signal.SIGSTOP)
    time.sleep(1.5 * LEASE)
    for other in others:
        trial.flow(other)
    taken = time.monotonic()
    while trial.answered(taken) < 100:
        time.sleep(0.1)
    trial.note("SIGCONT")
    sleeper.send(signal.SIGCONT)
    trial.cut_off.remove(sleeper)
    trial.flow()
    conclude(trial)
