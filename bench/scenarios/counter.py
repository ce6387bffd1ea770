"""The durable counter: 200 clients over WebSocket, each with one call in flight, every answer on disk."""

from __future__ import annotations

import functools

from bench.databases import Database
from bench.load.jobs import Calls, Measured, Target
from bench.plan import Plan, interleaved
from bench.report import Aim, Report
from bench.servers import BARE, CHANNELS, LIGHTMOON, run, serve

CALL = '{"jsonrpc":"2.0","id":"{id}","method":"bench.Counter.add","params":{"key":"{key}","n":1}}'
RESULT = '"result"'

LABEL = "LightMoon"
PEER = "Channels, hand-written"
ECHO = "bare ASGI echo"


def measure(plan: Plan, report: Report, database: Database) -> None:
    with serve(LIGHTMOON, database) as lightmoon, serve(CHANNELS, database) as channels, serve(BARE, database) as bare:
        targets = {
            LABEL: (lightmoon.target("/lightmoon/ws"), RESULT),
            PEER: (channels.target("/counter"), RESULT),
            ECHO: (bare.target("/echo"), "jsonrpc"),
        }
        rates: dict[int, float] = {}
        for actors in plan.actors:
            report.title(f"Durable counter, {plan.clients} clients, {actors:,} actors, {database.label}")
            if actors > plan.clients:
                run(calls(plan, targets[LABEL][0], actors, seconds=0))  # all of them are in memory now
            found = interleaved(
                plan,
                {label: functools.partial(_run, plan, *target, actors) for label, target in targets.items()},
            )
            report.table("calls/s", list(found.items()))
            judge(report, found)
            rates[actors] = found[LABEL].rate
        if 200 in rates and 10_000 in rates:
            report.aim(Aim("10,000 actors cost, against 200", rates[200] / rates[10_000], at_most=1.5))


def calls(plan: Plan, target: Target, actors: int, *, seconds: float, answer: str = RESULT, first: int = 1) -> Calls:
    return Calls(
        target=target,
        call=CALL,
        answer=answer,
        clients=plan.clients,
        first_key=first,
        keys=actors,
        warm_up=plan.warm_up,
        seconds=seconds,
    )


def _run(plan: Plan, target: Target, answer: str, actors: int) -> Measured:
    return run(calls(plan, target, actors, seconds=plan.seconds, answer=answer))


def judge(report: Report, found: dict[str, Measured]) -> None:
    mine, peer, echo = found[LABEL], found[PEER], found[ECHO]
    report.aim(Aim("durable calls against Channels", mine.rate / peer.rate, at_least=20))
    report.aim(Aim("durable calls against the bare echo", mine.rate / echo.rate, at_least=1 / 3))
    report.aim(Aim("p99 against the bare echo's", mine.p99 / echo.p99, at_most=5))
