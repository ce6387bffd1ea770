"""Events of an actor on one machine to many subscribers on another one."""

from __future__ import annotations

import json
import pathlib
import tempfile
import time

from bench.databases import Database
from bench.links import redis
from bench.load import wire
from bench.load.connections import Connection, Pool, ask_all
from bench.peers.bare import PADDING
from bench.plan import Plan
from bench.project import traffic
from bench.report import Aim, Report
from bench.servers import HOST, LIGHTMOON, Server, serve

SUBSCRIBERS = 1000
EVENTS = 200  # one after the other
PATH = "/lightmoon/ws"
PATIENCE = 30.0  # seconds
SUBSCRIBE = '{"jsonrpc":"2.0","id":"s","method":"lm.subscribe","params":{"actor":"bench.Bulletin","key":"a"}}'
PUBLISH = f'{{"jsonrpc":"2.0","id":1,"method":"bench.Bulletin.publish","params":{{"key":"a","text":"{PADDING}"}}}}'


def measure(plan: Plan, report: Report, database: Database) -> None:
    report.title(f"Events to {SUBSCRIBERS:,} subscribers of another machine's server, {database.label}")
    with tempfile.TemporaryDirectory(prefix="lm-cross-") as name, redis.serve(pathlib.Path(name)) as between:
        environments = [{"BENCH_REDIS": between.url, "BENCH_MACHINE": machine} for machine in ("owner", "follower")]
        with serve(LIGHTMOON, database, environments[0]) as owner, serve(LIGHTMOON, database, environments[1]) as other:
            _measure(report, between, owner, other)


def _measure(report: Report, between: redis.Redis, owner: Server, other: Server) -> None:
    near, far = Pool(HOST, owner.port), Pool(HOST, other.port)
    try:
        (publisher,) = near.open(PATH, 1)
        ask_all(near, [publisher], PUBLISH.encode(), b'"result"', PATIENCE)  # now the actor is there
        subscribers = far.open(PATH, SUBSCRIBERS)
        ask_all(far, subscribers, SUBSCRIBE.encode(), b'"epoch"', PATIENCE)
        _publish(publisher, far)
        casts, messages = _casts(owner), between.sent()
        took = sorted(_publish(publisher, far) for _ in range(EVENTS))
        casts, messages = _casts(owner) - casts, between.sent() - messages
    finally:
        near.close()
        far.close()
    report.line(f"{EVENTS} events until all have it: p50 {took[EVENTS // 2]:.1f} ms, the slowest {took[-1]:.1f} ms")
    report.line(f"{messages} messages through the layer in all, with positions and acknowledgements both ways")
    report.aim(Aim("messages of the layer per event", casts / EVENTS, at_most=1, unit=""))


def _publish(publisher: Connection, far: Pool) -> float:
    """Milliseconds until everybody has it."""
    began = time.perf_counter()
    publisher.send(wire.frame(PUBLISH.encode()))
    got = 0
    while got < SUBSCRIBERS:
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"An event reached {got} of {SUBSCRIBERS} subscribers in {PATIENCE} s.")
        got += sum(b'"lm.event"' in text for _, texts in far.receive(0.5) for text in texts)
    return 1000 * (time.perf_counter() - began)


def _casts(server: Server) -> int:
    return int(json.loads(server.get(traffic.PATH))["casts_sent"])
