"""Many connections that each follow one actor: what they weigh, how fast they come, and how fast they come back."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from contextlib import ExitStack

from bench.databases import Database
from bench.limits import raise_limit
from bench.links import redis
from bench.load.jobs import Idle, Storm, Stormed
from bench.plan import Plan
from bench.report import LOAD_LIMIT, Aim, Report
from bench.scenarios.fanout import RESULT, SUBSCRIBE
from bench.scenarios.idle import HELLO, KIB, PRIMING
from bench.servers import BARE, CHANNELS, LIGHTMOON, Load, Server, serve

AGAIN = '{"jsonrpc":"2.0","id":"h","method":"lm.hello","params":{"protocol":1,"client":"bench","session":"{session}"}}'
SESSION = '"session"'
STORM_SECONDS = 10.0
PATHS = {LIGHTMOON: "/lightmoon/ws", BARE: "/follow", CHANNELS: "/known"}
CHANNELS_SHARE = 4  # its in-memory layer looks at every channel for each of them: more would take minutes
ECHOED = '{"jsonrpc":"2.0","id":"h","result":{"session":"x"}}'  # a greeting that is answered by itself


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """What so many connections cost."""

    count: int
    memory: float  # bytes each
    rate: float  # connections per second, each with its subscription
    cpu: float  # cores while nothing happens

    def line(self, label: str) -> str:
        return (
            f"{label:28} {self.count:>7,} connections  {self.memory / KIB:>6.1f} KiB each  "
            f"{self.rate:>6,.0f}/s  {self.cpu:.2f} cores at rest"
        )


def measure(plan: Plan, report: Report, database: Database) -> None:
    count = _possible(report, plan.connections)
    report.title(f"Connections that follow one actor, {count:,} of one process")
    with serve(LIGHTMOON, database) as server:
        mine = _held(plan, [server], count)
    report.line(mine.line("LightMoon"))
    with serve(BARE, database) as server:
        bare = _held(plan, [server], count)
    report.line(bare.line("bare ASGI"))
    with serve(CHANNELS, database) as server:
        channels = _held(plan, [server], count // CHANNELS_SHARE)
    report.line(channels.line("Channels, in-memory layer"))
    with (
        tempfile.TemporaryDirectory(prefix="lm-held-") as name,
        redis.serve(pathlib.Path(name)) as broker,
        serve(CHANNELS, database, {"BENCH_REDIS": broker.url}) as server,
    ):
        deployed = _held(plan, [server], count // CHANNELS_SHARE)
    report.line(deployed.line("Channels, Redis layer"))
    report.aim(Aim("memory per connection against bare ASGI", mine.memory / bare.memory, at_most=1.3))
    report.aim(Aim("memory per connection against Channels in memory", mine.memory / channels.memory, at_most=0.6))
    report.aim(Aim("memory per connection against Channels over Redis", mine.memory / deployed.memory, at_most=0.6))
    report.aim(Aim("CPU at rest", mine.cpu, at_most=0.05, unit="cores"))
    report.title(f"The same over {plan.processes} processes, {count * plan.processes:,} connections")
    with ExitStack() as stack:
        servers = [stack.enter_context(serve(LIGHTMOON, database)) for _ in range(plan.processes)]
        report.line(_held(plan, servers, count).line("LightMoon"))


def storm(plan: Plan, report: Report, database: Database) -> None:
    """All are cut, and come back at once with their sessions."""
    count = _possible(report, plan.storm)
    report.title(f"Reconnect storm of {count:,} clients")
    found = _stormed(database, LIGHTMOON, count)
    bare = _stormed(database, BARE, count)
    report.line(f"LightMoon: {_line(found)}; {found.recovered:,} sessions went on")
    report.line(f"bare ASGI, which echoes as many messages: {_line(bare)}")
    if found.errors:
        report.warn(f"{found.errors} errors, the first: {found.first_error}")
    if found.load_cpu > LOAD_LIMIT:
        report.warn(f"The load generator used {found.load_cpu:.2f} cores: it may have been the limit.")
    report.aim(Aim("seconds until all are back", found.seconds, at_most=STORM_SECONDS * count / 10_000, unit="s"))
    report.aim(Aim("errors", found.errors, at_most=0, unit=""))
    report.aim(Aim("sessions that went on", found.recovered / count, at_least=1.0))


def _stormed(database: Database, application: str, count: int) -> Stormed:
    mine = application == LIGHTMOON
    with serve(application, database) as server:
        load = Load(
            Storm(
                target=server.target("/lightmoon/ws" if mine else "/echo"),
                connections=count,
                greeting=HELLO if mine else ECHOED,
                again=AGAIN,
                recovered='"recovered":true',
                subscribe=SUBSCRIBE,
                subscribed=RESULT if mine else "lm.subscribe",
            )
        )
        load.wait_started()
        return Stormed(**load.outcome())


def _line(found: Stormed) -> str:
    each = 1000 * found.seconds / found.count
    return (
        f"{found.count / found.seconds:,.0f} clients/s, {each * found.server_cpu:.2f} ms of the server's CPU and "
        f"{each * found.load_cpu:.2f} ms of the load's for each; server {found.server_cpu:.2f} cores, "
        f"load {found.load_cpu:.2f} cores"
    )


def _possible(report: Report, wanted: int) -> int:
    room = raise_limit()
    if wanted <= room:
        return wanted
    report.warn(
        f"This machine lets a process have {room:,} connections, not {wanted:,}. Raise the hard limit: ulimit -Hn."
    )
    return room


def _held(plan: Plan, servers: list[Server], count: int) -> Held:
    """Open so many on each server, after a few that fill its caches."""
    first = [_hold(server, PRIMING) for server in servers]
    before = [server.memory() for server in servers]
    others = [_hold(server, count) for server in servers]
    held = sum(server.memory() for server in servers) - sum(before)
    cpu = max(server.cpu(plan.rest) for server in servers)
    for server in servers:
        server.kill()  # or each consumer would say goodbye to its layer, which takes so many at once for an error
    for load, _ in (*first, *others):
        load.release()
    rates = [count / seconds for _, seconds in others]
    return Held(count * len(servers), held / (count * len(servers)), sum(rates) / len(rates), cpu)


def _hold(server: Server, connections: int) -> tuple[Load, float]:
    """The load that holds them, and the seconds until all were there."""
    mine = server.application == LIGHTMOON
    load = Load(
        Idle(
            target=server.target(PATHS[server.application]),
            connections=connections,
            greeting=HELLO if mine else "",
            answer=SESSION if mine else "ready",
            subscribe=SUBSCRIBE if mine else "",
            subscribed=RESULT if mine else "",
        )
    )
    return load, float(load.wait_started()["seconds"])
