"""Several processes that host actors over one database: more of them, one that is killed, one that stops."""

from __future__ import annotations

import os
import pathlib
import tempfile
import time

from bench.databases import Database
from bench.hosts import hosting
from bench.links import redis
from bench.plan import Plan
from bench.report import Aim, Report

SPIN = 500  # microseconds of the processor per call
ACTORS = 64
CLIENTS = 64
CORES = 3  # for two processes that use one each, and one that asks
LEASE = 5.0  # seconds, the default
TAKE_OVER = 1.0  # seconds beyond it
AT_ONCE = 1.0  # seconds
HELD = 10_000  # actors
USED = 200  # of them, while their process stops
GRACE = 10.0  # seconds, the default


def scaling(plan: Plan, report: Report, database: Database) -> None:
    """Calls that use the processor in the actor, from a third process, to one and to two that host the actors."""
    report.title(f"Calls of {SPIN} µs of the processor each, to one process and to two, {database.label}")
    keys = list(range(1, ACTORS + 1))
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(plan.rounds):
        for many, found in rates.items():
            with hosting(database, *({} for _ in range(many + 1))) as (asking, *owners):
                for number, owner in enumerate(owners):
                    share = ACTORS // many
                    owner.do("hold", first=1 + number * share, last=(number + 1) * share)
                asking.do("spin", keys=keys, clients=CLIENTS, seconds=plan.warm_up, microseconds=SPIN)
                found.append(asking.do("spin", keys=keys, clients=CLIENTS, seconds=plan.seconds, microseconds=SPIN))
    one, two = (sorted(found)[len(found) // 2] for found in rates.values())
    report.line(f"one process {one:,.0f} calls/s, two {two:,.0f} calls/s: {two / one:.2f} ×")
    cores = len(os.sched_getaffinity(0))
    if cores < CORES:
        report.warn(f"{cores} cores are too few to judge this: two hosting processes and an asking one need {CORES}.")
    else:
        report.aim(Aim("calls/s of two processes, against one", two / one, at_least=1.7))


def failover(plan: Plan, report: Report, database: Database) -> None:
    """From SIGKILL of a process until another one has answered a call to each of the actors that it had."""
    report.title(f"A process with {ACTORS} actors is killed, {database.label}")
    keys = list(range(1, ACTORS + 1))
    with hosting(database, {}, {}) as (here, there):
        there.do("hold", first=1, last=ACTORS)
        here.do("hold", first=1, last=ACTORS)  # by way of the other
        there.process.kill()
        took = here.do("answered", keys=keys, since=time.time())
    report.aim(Aim("on one machine, all answer again", took, at_most=AT_ONCE, unit="s"))
    with tempfile.TemporaryDirectory(prefix="lm-kill-") as name, redis.serve(pathlib.Path(name)) as server:
        machines = [{"BENCH_REDIS": server.url, "BENCH_MACHINE": machine} for machine in ("here", "there")]
        with hosting(database, *machines) as (here, there):
            there.do("hold", first=1, last=ACTORS)
            here.do("hold", first=1, last=ACTORS)
            there.process.kill()
            took = here.do("answered", keys=keys, since=time.time())
    report.aim(Aim(f"on another machine, a lease of {LEASE:.0f} s", took, at_most=LEASE + TAKE_OVER, unit="s"))


def drain(plan: Plan, report: Report, database: Database) -> None:
    """From SIGTERM until the process has ended, while another one calls some of its actors all the time."""
    report.title(f"A process with {HELD:,} actors is stopped, {database.label}")
    keys = list(range(1, USED + 1))
    with hosting(database, {}, {}) as (here, there):
        there.do("hold", first=1, last=HELD)
        here.begin("use", keys=keys, clients=20, seconds=2 * plan.warm_up + GRACE / 2)
        time.sleep(plan.warm_up)
        began = time.perf_counter()
        there.process.terminate()
        there.process.wait(2 * GRACE)
        took = time.perf_counter() - began
        found = here.answer()
    calls = found.pop("calls")
    report.line(f"{calls:,} calls to {USED} of them from another process meanwhile; errors: {found or 'none'}")
    report.aim(Aim("from SIGTERM to its end", took, at_most=GRACE, unit="s"))
    report.aim(Aim("calls that nobody knows the outcome of", found.get("OutcomeUnknown", 0), at_most=0, unit=""))
