"""How long a run takes: quick for a look, full for figures that are quoted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from bench.load.jobs import Measured
from bench.report import median


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    rounds: int
    warm_up: float  # seconds
    seconds: float
    clients: int = 200
    actors: tuple[int, ...] = (1, 200, 10_000)
    large_rounds: int = 2  # of fan-outs beyond 1,000 subscribers, of which Channels' alone takes a minute
    subscribers: tuple[int, ...] = (1000, 5000)
    cold_rows: int = 20_000
    idle_connections: int = 3000
    connections: int = 10_000  # of one process
    processes: int = 3  # with as many each
    storm: int = 10_000  # clients that come back at once
    rest: float = 5.0  # seconds in which nothing happens
    hot: tuple[int, int] = (4000, 1000)  # subscribers over WebSocket, and over event streams
    hot_seconds: float = 60.0
    tickers: tuple[int, ...] = (1, 200)
    reminders: int = 100_000  # pending


FULL = Plan(rounds=3, warm_up=1.0, seconds=3.0)
QUICK = Plan(
    rounds=1,
    large_rounds=1,
    warm_up=0.5,
    seconds=1.5,
    subscribers=(1000,),
    cold_rows=10_000,
    idle_connections=1500,
    connections=2000,
    storm=2000,
    rest=2.0,
    hot=(800, 200),
    hot_seconds=8.0,
)


def interleaved(plan: Plan, runs: Mapping[str, Callable[[], Measured]]) -> dict[str, Measured]:
    """Run all in turn, `rounds` times over, so that what disturbs the machine disturbs all; the median of each."""
    found: dict[str, list[Measured]] = {label: [] for label in runs}
    for _ in range(plan.rounds):
        for label, run in runs.items():
            found[label].append(run())
    return {label: median(measured) for label, measured in found.items()}
