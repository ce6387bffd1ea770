"""The tables of docs/scale.md, as its text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from bench.scale.model import BUSY, MIB, QUIET, Limits, Loads, Shape, Workload, loads, nodes_needed
from bench.scale.units import Units

NODES = (1, 3, 10, 30, 100, 300, 1000)
ACTORS = (10**4, 10**5, 10**6, 10**7, 10**8)
CROWD = 10**6  # actors, on more and more nodes
SHAPES = ((1, 1, False), (4, 1, False), (4, 16, False), (16, 16, True), (16, 64, True))  # databases, Redis, split
HEADS = ["node cores", "node MiB", "db cores", "db commits/s", "db log MB/s", "db conns", "db GB", "Redis cores"]
FIELDS = {
    "node_cores": "node's core",
    "node_memory": "node's memory",
    "database_cores": "database's cores",
    "database_commits": "database's commits",
    "database_log": "database's log",
    "database_connections": "connections",
    "database_disk": "disk",
    "redis_cores": "Redis' core",
}


def everything(units: Units, limits: Limits) -> str:
    """All of them, in the order of the page."""
    return "\n".join(
        [
            _costs(units),
            _upkeep(units),
            *(_growth(units, work, limits) for work in (QUIET, BUSY)),
            _more_nodes(units, BUSY, limits),
            *(_spread(units, work, limits) for work in (QUIET, BUSY)),
        ]
    )


def _costs(units: Units) -> str:
    rows = [
        [field.name, f"{getattr(units, field.name):,.1f}", field.metadata["unit"], field.metadata["what"]]
        for field in dataclasses.fields(units)
    ]
    return _table("Unit costs (measured)", ["name", "value", "unit", "of"], rows)


def _upkeep(units: Units) -> str:
    rows = []
    for nodes in NODES:
        found = loads(Shape(nodes=nodes, actors=0), BUSY, units)
        rows.append(
            [
                f"{nodes:,}",
                f"{found.database_upkeep:.3f}",
                f"{found.survey_rows:,.0f}",
                f"{found.database_commits:,.0f}",
                f"{found.database_connections:,.0f}",
                f"{found.database_memory / MIB:,.0f}",
                f"{found.node_cores:.3f}",
            ]
        )
    heads = ["nodes", "db cores", "rows read/s", "commits/s", "connections", "their MiB", "core of each node"]
    return _table("What idle nodes cost a database (calculated)", heads, rows)


def _growth(units: Units, work: Workload, limits: Limits) -> str:
    rows = []
    for actors in ACTORS:
        nodes = nodes_needed(actors, work, units, limits)
        found = loads(Shape(nodes=nodes, actors=actors), work, units)
        rows.append([f"{actors:,}", f"{actors * work.calls:,.0f}", f"{nodes:,}", *_cells(found), _worst(found, limits)])
    title = f"{work.name} actors, one database and one Redis (calculated)"
    return _table(title, ["actors", "calls/s", "nodes", *HEADS, "nearest to its limit"], rows)


def _more_nodes(units: Units, work: Workload, limits: Limits) -> str:
    rows = []
    for nodes in NODES[1:]:
        found = loads(Shape(nodes=nodes, actors=CROWD), work, units)
        rows.append([f"{nodes:,}", *_cells(found), _worst(found, limits)])
    title = f"The same {CROWD:,} {work.name.lower()} actors on more nodes (calculated)"
    return _table(title, ["nodes", *HEADS, "nearest to its limit"], rows)


def _spread(units: Units, work: Workload, limits: Limits) -> str:
    actors, rows = ACTORS[-1], []
    for databases, redis, split in SHAPES:
        parts: dict[str, Any] = {"databases": databases, "redis": redis, "partitioned": split}
        nodes = nodes_needed(actors, work, units, limits, **parts)
        found = loads(Shape(nodes=nodes, actors=actors, **parts), work, units)
        which = "one" if split else "all"
        rows.append([str(databases), str(redis), which, f"{nodes:,}", *_cells(found), _worst(found, limits)])
    title = f"{actors:,} {work.name.lower()} actors, spread (calculated; each database, each Redis)"
    return _table(title, ["databases", "Redis", "a node serves", "nodes", *HEADS, "nearest to its limit"], rows)


def _cells(found: Loads) -> list[str]:
    return [
        f"{found.node_cores:.2f}",
        f"{found.node_memory / MIB:,.0f}",
        f"{found.database_cores:.2f}",
        f"{found.database_commits:,.0f}",
        f"{found.database_log / 1e6:,.1f}",
        f"{found.database_connections:,.0f}",
        f"{found.database_disk / 1e9:,.1f}",
        f"{found.redis_cores:.2f}",
    ]


def _worst(found: Loads, limits: Limits) -> str:
    name, share = next(iter(found.saturated(limits).items()))
    return f"{FIELDS[name]} {share:.0%}"


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])
