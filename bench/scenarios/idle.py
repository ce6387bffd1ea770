"""What an idle connection weighs, against the same connection on the bare server."""

from __future__ import annotations

from bench.databases import Database
from bench.load.jobs import Idle
from bench.plan import Plan
from bench.report import Aim, Report
from bench.servers import BARE, LIGHTMOON, Load, Server, serve

PRIMING = 100  # connections that are open when memory is first read
KIB = 1024
HELLO = '{"jsonrpc":"2.0","id":"h","method":"lm.hello","params":{"protocol":1,"client":"bench"}}'


def measure(plan: Plan, report: Report, database: Database) -> None:
    report.title(f"Memory per idle connection, {plan.idle_connections:,} connections")
    with serve(LIGHTMOON, database) as lightmoon, serve(BARE, database) as bare:
        mine = _weight(plan, lightmoon, "/lightmoon/ws", '"session"')
        theirs = _weight(plan, bare, "/echo", "lm.hello")
    report.line(f"LightMoon {mine / KIB:.1f} KiB, bare ASGI {theirs / KIB:.1f} KiB")
    report.aim(Aim("memory per idle connection against bare ASGI", mine / theirs, at_most=1.15))


def _weight(plan: Plan, server: Server, path: str, answer: str) -> float:
    """Bytes per connection that has said hello."""

    def hold(connections: int) -> Load:
        load = Load(Idle(target=server.target(path), connections=connections, greeting=HELLO, answer=answer))
        load.wait_started()
        return load

    first = hold(PRIMING)
    before = server.memory()
    others = hold(plan.idle_connections)
    held = server.memory() - before
    others.release()
    first.release()
    return held / plan.idle_connections
