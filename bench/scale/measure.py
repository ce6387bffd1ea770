"""Measures all unit costs, with the servers and loads that the other benchmarks use.

Costs are processor time per thing done, so that a busy machine makes them worse by its cache misses only, not by its
queues. A node and a PostgreSQL are measured beside each other, both under load, as in production.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import psycopg

from bench import databases
from bench.databases import ROWS, Database
from bench.links import redis
from bench.load.jobs import Idle, Measured, Target
from bench.plan import Plan
from bench.scale.units import Units
from bench.scenarios import fanout, links
from bench.scenarios.cold import FIRST_COLD, PRIMING
from bench.scenarios.counter import calls
from bench.scenarios.idle import HELLO
from bench.servers import LIGHTMOON, Load, Server, run, serve

MICRO = 1e6
ACTORS = 10_000
CLIENTS = 100  # of links
FEW_CLIENTS = 4
FEW = 1000  # subscribers


def measure(plan: Plan, directory: str | None) -> Units:
    with databases.scratch(directory) as folder, databases.postgres(folder) as database:
        found = {
            **_calls(plan, database),
            **_activations(plan, database),
            **_clients(plan, database),
            **_deliveries(plan, database),
            **_hops(plan, database),
            **_upkeep(database),
        }
    return Units(**found)


def _calls(plan: Plan, database: Database) -> dict[str, float]:
    """With many clients groups are large, with few small; what one row and what one group costs follows from both."""
    few = dataclasses.replace(plan, clients=FEW_CLIENTS)
    with serve(LIGHTMOON, database) as server:
        target = server.target("/lightmoon/ws")
        run(calls(plan, target, ACTORS, seconds=0))  # all are in memory now
        busy, groups, written = _counted(plan, target, database)
        quiet, more_groups, _ = _counted(few, target, database)
    many, each = busy.count, quiet.count
    spent = [MICRO * one.database_cpu * one.seconds for one in (busy, quiet)]
    group = (spent[1] / each - spent[0] / many) / (more_groups / each - groups / many)
    return {
        "call_node": _each(busy.server_cpu, busy),
        "call_database": max(0.0, (spent[0] - group * groups) / many),
        "call_log": written / many,
        "group_database": group,
        "group_seconds": MICRO * busy.seconds / groups,
    }


def _counted(plan: Plan, target: Target, database: Database) -> tuple[Measured, float, float]:
    """A run, with the transactions and the bytes of log in its measured time."""
    before, began = _progress(database), time.perf_counter()
    found = run(calls(plan, target, ACTORS, seconds=plan.seconds))
    after, share = _progress(database), found.seconds / (time.perf_counter() - began)
    share = max(share, found.count / (found.count + found.rate * plan.warm_up))  # the generator's own start is idle
    return found, (after[0] - before[0]) * share, (after[1] - before[1]) * share


def _progress(database: Database) -> tuple[int, int]:
    with psycopg.connect(database.where) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT pg_current_xact_id()::text::bigint, pg_current_wal_insert_lsn() - '0/0'"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _activations(plan: Plan, database: Database) -> dict[str, float]:
    with serve(LIGHTMOON, database) as server:
        target = server.target("/lightmoon/ws")
        run(calls(plan, target, PRIMING, seconds=0, first=FIRST_COLD))
        before = server.memory()
        count = min(plan.cold_rows, ROWS - FIRST_COLD + 1) - PRIMING
        found = run(calls(plan, target, count, seconds=0, first=FIRST_COLD + PRIMING))
        held = server.memory() - before
    size = _ask(database, "SELECT pg_total_relation_size('bench_counter') / count(*) FROM bench_counter")
    return {
        "activation_node": _each(found.server_cpu, found),
        "activation_database": _each(found.database_cpu, found),
        "actor_memory": held / count,
        "actor_disk": float(size),
    }


def _clients(plan: Plan, database: Database) -> dict[str, float]:
    idle = _weight(plan, database, HELLO, '"session"')
    following = _weight(plan, database, fanout.SUBSCRIBE, fanout.RESULT)
    return {"connection_memory": idle, "subscription_memory": following - idle}


def _weight(plan: Plan, database: Database, greeting: str, answer: str) -> float:
    """Bytes per connection that has said that."""
    with serve(LIGHTMOON, database) as server:
        return _weighed(plan, server, greeting, answer)


def _weighed(plan: Plan, server: Server, greeting: str, answer: str) -> float:

    def hold(connections: int) -> Load:
        load = Load(
            Idle(target=server.target("/lightmoon/ws"), connections=connections, greeting=greeting, answer=answer)
        )
        load.wait_started()
        return load

    first = hold(100)
    before = server.memory()
    others = hold(plan.idle_connections)
    held = server.memory() - before
    others.release()
    first.release()
    return held / plan.idle_connections


def _deliveries(plan: Plan, database: Database) -> dict[str, float]:
    with serve(LIGHTMOON, database) as server:
        found = fanout._run(plan, fanout.LABEL, server, FEW)
    return {"delivery_node": _each(found.server_cpu, found)}


def _hops(plan: Plan, database: Database) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="lm-links-") as name, redis.serve(pathlib.Path(name)) as server:
        many = links._run(plan, "layer link", pathlib.Path(name), server.pid, CLIENTS, database)
        lone = links._run(plan, "layer link", pathlib.Path(name), server.pid, 1, database)
    return {
        "hop_asking": _each(many.load_cpu, many),
        "hop_answering": _each(many.server_cpu, many),
        "hop_redis": _each(many.database_cpu, many),
        "lone_hop_asking": _each(lone.load_cpu, lone),
        "lone_hop_answering": _each(lone.server_cpu, lone),
        "lone_hop_redis": _each(lone.database_cpu, lone),
        "lone_hop_seconds": 1000 * lone.p50,
    }


def _upkeep(database: Database) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.scale.upkeep", str(database.pid)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "bench.project.settings", "BENCH_DATABASE": database.where},
        check=True,
        stdout=subprocess.PIPE,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _each(cores: float, found: Measured) -> float:
    """Microseconds of one core for each thing done."""
    return MICRO * cores / found.rate


def _ask(database: Database, sql: str) -> Any:
    with psycopg.connect(database.where) as connection:
        row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]
