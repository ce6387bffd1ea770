"""Request and reply between two processes: over links, and over what a link's carrier is made of."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from bench.databases import Database
from bench.links import redis
from bench.load.jobs import Measured
from bench.plan import Plan, interleaved
from bench.report import Aim, Report
from bench.servers import ROOT

LABELS = {
    "ask": "ask of an actor, Unix socket",
    "link": "link, Unix socket",
    "socket": "bare Unix socket",
    "layer ask": "ask of an actor, Redis layer",
    "layer link": "link, Redis layer",
    "channels": "channels_redis by hand",
    "redis": "bare Redis",
}
CLIENTS = 100


def measure(plan: Plan, report: Report, database: Database) -> None:
    """All ways in turn, first with one client and then with many. No database has a part in it."""
    with tempfile.TemporaryDirectory(prefix="lm-links-") as name, redis.serve(pathlib.Path(name)) as server:
        where = pathlib.Path(name)
        one = _all(plan, report, where, server.pid, database, clients=1)
        many = _all(plan, report, where, server.pid, database, clients=CLIENTS)
    report.title("Links, against what they are made of")
    for way, name in (("link", "a link"), ("ask", "an ask")):
        report.aim(Aim(f"Unix, one client: p50 of {name} against a bare socket", _p50(one, way, "socket"), at_most=3))
        report.aim(Aim(f"Unix, {CLIENTS} clients: {way}", many[way].rate, at_least=25_000, unit="replies/s"))
    for way, name in (("layer link", "a link"), ("layer ask", "an ask")):
        report.aim(
            Aim(f"Redis, one client: p50 of {name} against channels_redis", _p50(one, way, "channels"), at_most=0.7)
        )
        ratio = many[way].rate / many["channels"].rate
        report.aim(Aim(f"Redis, {CLIENTS} clients: {name} against channels_redis", ratio, at_least=12))
    report.line(
        f"against bare Redis: p50 {one['layer link'].p50 / one['redis'].p50:.2f} × with one client, "
        f"rate {many['layer link'].rate / many['redis'].rate:.1f} × with {CLIENTS}"
    )


def _p50(found: dict[str, Measured], way: str, against: str) -> float:
    return found[way].p50 / found[against].p50


def _all(
    plan: Plan, report: Report, where: pathlib.Path, redis_pid: int, database: Database, *, clients: int
) -> dict[str, Measured]:
    report.title(f"Request and reply of 100 bytes between two processes, {clients} at once")
    found = interleaved(
        plan,
        {way: lambda way=way: _run(plan, way, where, redis_pid, clients, database) for way in LABELS},  # type: ignore[misc]
    )
    for way, measured in found.items():
        cores = (
            f"{measured.load_cpu:.2f} asking, {measured.server_cpu:.2f} answering, {measured.database_cpu:.2f} Redis"
        )
        report.line(
            f"{LABELS[way]:28} {measured.rate:>9,.0f} replies/s, "
            f"p50 {measured.p50:.3f} ms, p99 {measured.p99:.3f} ms; cores: {cores}"
        )
    return found


def _run(plan: Plan, way: str, where: pathlib.Path, redis_pid: int, clients: int, database: Database) -> Measured:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "bench.project.settings",
        "BENCH_DATABASE": database.where,
        **({"BENCH_REDIS": f"unix://{where}/redis.sock"} if "layer" in way else {}),
    }
    machine = "layer" in way  # of its own, for each
    answering = subprocess.Popen(
        [sys.executable, "-m", "bench.links.answer", way, str(where)],
        cwd=ROOT,
        env={**environment, **({"BENCH_MACHINE": "answering"} if machine else {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert answering.stdout is not None
        if answering.stdout.readline() != "ready\n":
            raise RuntimeError(f"The answering process of {LABELS[way]} did not start.")
        arguments = (way, where, clients, plan.warm_up, plan.seconds, answering.pid, redis_pid)
        asking = subprocess.run(
            [sys.executable, "-m", "bench.links.ask", *map(str, arguments)],
            cwd=ROOT,
            env={**environment, **({"BENCH_MACHINE": "asking"} if machine else {})},
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        if asking.returncode:
            raise RuntimeError(f"Asking over {LABELS[way]} failed.")
        return Measured(**json.loads(asking.stdout))
    finally:
        answering.kill()
        answering.communicate()
        for left in where.glob("*.sock"):
            if left.name != "redis.sock":
                left.unlink()
