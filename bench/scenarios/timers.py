"""How even the ticks of `@every` are at 60 in a second, against a bare ticker on the same loop."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.databases import Database
from bench.plan import Plan
from bench.report import Aim, Report

RATE = 60  # ticks in a second
LATE = 0.01  # ratios of times below this many ms tell nothing


def measure(plan: Plan, report: Report, database: Database) -> None:
    for count in plan.tickers:
        report.title(f"Timers at {RATE} Hz, {count:,} actors in memory")
        found = _run(count, plan.seconds)
        bare, actors = found["bare"], found["actors"]
        for label, late in (("LightMoon", actors), ("bare loop.call_at", bare)):
            report.line(
                f"{label:18} p50 {percentile(late, 50) * 1000:.2f} ms late, p99 {percentile(late, 99) * 1000:.2f} ms, "
                f"{len(late) / plan.seconds / count:.1f} ticks/s each"
            )
        ratio = max(percentile(actors, 99) * 1000, LATE) / max(percentile(bare, 99) * 1000, LATE)
        report.line(f"p99 against the bare ticker's: {ratio:.2f} ×")
        report.aim(Aim("ticks held", len(actors) / plan.seconds / count / RATE, at_least=0.98))


def percentile(values: list[float], percent: int) -> float:
    """Of a sorted copy; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else 0.0


def _run(count: int, seconds: float) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "bench.ticks", str(count), str(seconds)]
    found: dict[str, list[float]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found
