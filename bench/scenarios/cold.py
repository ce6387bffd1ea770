"""First calls to actors that are not in memory, and what they weigh once they are."""

from __future__ import annotations

from bench.databases import ROWS, Database
from bench.plan import Plan
from bench.report import Aim, Report
from bench.scenarios.counter import LABEL, calls
from bench.servers import LIGHTMOON, run, serve

FIRST_COLD = 10_001
PRIMING = 200  # actors that are called before memory is first read
KIB = 1024


def measure(plan: Plan, report: Report, database: Database) -> None:
    report.title(f"First calls to {plan.cold_rows - PRIMING:,} cold actors, {database.label}")
    with serve(LIGHTMOON, database) as server:
        target = server.target("/lightmoon/ws")
        run(calls(plan, target, PRIMING, seconds=0, first=FIRST_COLD))
        before = server.memory()
        count = min(plan.cold_rows, ROWS - FIRST_COLD + 1) - PRIMING
        found = run(calls(plan, target, count, seconds=0, first=FIRST_COLD + PRIMING))
        held = server.memory() - before
        report.table("calls/s", [(LABEL, found)])
        report.aim(Aim("cold first calls", found.rate, at_least=5000, unit="activations/s"))
        report.aim(Aim("memory per idle activation", held / count / KIB, at_most=4, unit="KiB"))
