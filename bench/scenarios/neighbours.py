"""Ordinary Django code beside full actor load: views that write, and a transaction that holds an actor's row."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.databases import ROWS, Database
from bench.load.jobs import Calls, Measured
from bench.load.meters import QUARTERS
from bench.plan import Plan
from bench.report import Aim, Report
from bench.scenarios.counter import LABEL, calls
from bench.servers import LIGHTMOON, Load, Server, serve

HELD = 2.0  # seconds that an outside transaction holds a row
UNUSED_ROW = ROWS  # an actor that the load does not call
LEAD = 1.0  # seconds of undisturbed load before it
UNDISTURBED = 1000.0  # milliseconds; no other actor's caller may wait longer
VIEW_PATIENCE = 1000.0  # milliseconds; a page that takes longer feels broken


def views(plan: Plan, report: Report, database: Database) -> None:
    """A view that writes, again and again, without and with 200 clients calling actors in the same file."""
    report.title(f"Ordinary views that write, under full actor load, {database.label}")
    with serve(LIGHTMOON, database) as server:
        quiet, _ = _requests(server, plan.seconds)
        load = Load(calls(plan, server.target("/lightmoon/ws"), plan.clients, seconds=plan.seconds + 1))
        load.wait_started()
        busy, failed = _requests(server, plan.seconds)
        found = load.result()
    report.table("calls/s", [(LABEL, found)])
    report.line(f"writes alone: {_summary(quiet)}; under load: {_summary(busy)}, {failed} failed")
    report.aim(Aim("failed writes of views", failed, at_most=0, unit=""))
    report.aim(Aim("the slowest write of a view", max(busy, default=1e9), at_most=VIEW_PATIENCE, unit="ms"))


def _requests(server: Server, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of each request, and how many failed."""
    took, failed = [], 0
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        connection.request("POST", "/note")
        response = connection.getresponse()
        response.read()
        failed += response.status != 200
        took.append(1000 * (time.perf_counter() - began))
    connection.close()
    return took, failed


def _summary(took: list[float]) -> str:
    ordered = sorted(took) or [0.0]
    p99 = ordered[int(0.99 * (len(ordered) - 1))]
    return (
        f"{len(took)} requests, p50 {statistics.median(ordered):.1f} ms, p99 {p99:.1f} ms, slowest {ordered[-1]:.1f} ms"
    )


def locked_row(plan: Plan, report: Report, database: Database) -> None:
    """200 clients on 200 actors, while an outside transaction holds the row of the first for two seconds.

    Any open transaction keeps PostgreSQL from removing old versions of rows, which slows down updates of hot ones. So
    it is compared with a transaction that holds a row which no actor is using.
    """
    report.title(f"An outside transaction holds one actor's row for {HELD:.0f} s, {database.label}")
    with serve(LIGHTMOON, database) as server:
        target = server.target("/lightmoon/ws")
        unrelated = _while_holding(UNUSED_ROW, database, calls(plan, target, plan.clients, seconds=2 * LEAD + HELD))
        found = _while_holding(1, database, calls(plan, target, plan.clients, seconds=2 * LEAD + HELD))
    locked, others = found.slowest_of_client[0], max(found.slowest_of_client[1:])
    report.table("calls/s", [("LightMoon, an actor's row", found), ("LightMoon, another row", unrelated)])
    report.line(f"answers per quarter of a second: {' '.join(map(str, found.timeline))}")
    report.line(f"                with another row: {' '.join(map(str, unrelated.timeline))}")
    report.line(f"the held actor's caller waited {locked:.0f} ms at most, all others {others:.0f} ms at most")
    report.aim(Aim("the longest wait of other actors' callers", others, at_most=UNDISTURBED, unit="ms"))
    report.aim(Aim("answers meanwhile, against another row held", _during(found) / _during(unrelated), at_least=0.8))


def _while_holding(row: int, database: Database, job: Calls) -> Measured:
    load = Load(job)
    load.wait_started()
    time.sleep(LEAD)
    with _holding(row, database):
        time.sleep(HELD)
    return load.result()


@contextmanager
def _holding(row: int, database: Database) -> Iterator[None]:
    import psycopg

    with psycopg.connect(database.where) as connection:
        connection.execute("SELECT 1 FROM bench_counter WHERE id = %s FOR UPDATE", [row])
        yield


def _during(found: Measured) -> float:
    """Answers per quarter of a second while the row was held."""
    lead, held = int(QUARTERS * LEAD), int(QUARTERS * HELD)
    return statistics.mean(found.timeline[lead + 1 : lead + held - 1] or [0])
