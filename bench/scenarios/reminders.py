"""What many pending reminders cost durable calls, and how late reminders fire beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from bench.databases import Database
from bench.load.jobs import Measured
from bench.plan import Plan, interleaved
from bench.report import Aim, Report
from bench.scenarios.counter import calls
from bench.scenarios.timers import percentile
from bench.servers import LIGHTMOON, run, serve

ACTORS = 200
BURST = 1000  # reminders that come due within one second


def measure(plan: Plan, report: Report, database: Database) -> None:
    report.title(f"{plan.reminders:,} pending reminders, {ACTORS} actors called, {database.label}")
    with serve(LIGHTMOON, database) as server:

        def rate() -> Measured:
            return run(calls(plan, server.target("/lightmoon/ws"), ACTORS, seconds=plan.seconds))

        rate()  # all of them are in memory now
        try:
            without = interleaved(plan, {"none pending": rate})
            _remind(database, "fill", plan.reminders)
            pending = interleaved(plan, {f"{plan.reminders:,} pending": rate})
            report.table("calls/s", [*without.items(), *pending.items()])
            ratio = next(iter(pending.values())).rate / next(iter(without.values())).rate
            report.aim(Aim("durable calls, against none pending", ratio, at_least=0.9))
            late = json.loads(_remind(database, "burst", BURST))
            report.line(
                f"{BURST:,} due within one second: p50 {percentile(late, 50) * 1000:.0f} ms late, "
                f"p99 {percentile(late, 99) * 1000:.0f} ms, the latest {max(late) * 1000:.0f} ms"
            )
        finally:
            _remind(database, "clear", 0)


def _remind(database: Database, what: str, count: int) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "bench.remind", what, str(count)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "bench.project.settings", "BENCH_DATABASE": database.where},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
