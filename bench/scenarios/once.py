"""What it costs to keep an answer: `once` calls against plain durable ones, on the same server."""

from __future__ import annotations

import dataclasses
import functools

from bench.databases import Database
from bench.load.jobs import Calls, Measured, Target
from bench.plan import Plan, interleaved
from bench.report import Aim, Report
from bench.scenarios.counter import calls
from bench.servers import LIGHTMOON, run, serve

ACTORS = 200
PLAIN = "add"
ONCE = "add_once"


def measure(plan: Plan, report: Report, database: Database) -> None:
    report.title(f"Calls whose answer is stored (once), {plan.clients} clients, {ACTORS} actors, {database.label}")
    with serve(LIGHTMOON, database) as server:
        target = server.target("/lightmoon/ws")
        found = interleaved(plan, {name: functools.partial(_run, plan, target, name) for name in (PLAIN, ONCE)})
    report.table("calls/s", list(found.items()))
    report.aim(Aim("a once call costs, against a plain one", found[PLAIN].rate / found[ONCE].rate, at_most=2))


def _run(plan: Plan, target: Target, message: str) -> Measured:
    job: Calls = calls(plan, target, ACTORS, seconds=plan.seconds)
    return run(dataclasses.replace(job, call=job.call.replace("Counter.add", f"Counter.{message}")))
