"""A hot room: one publisher at full rate, thousands of subscribers over two transports, one of whom never reads."""

from __future__ import annotations

from bench.databases import Database
from bench.load.jobs import Fate, Heat, Hot
from bench.plan import Plan
from bench.report import Aim, Report
from bench.scenarios.fanout import SUBSCRIBE
from bench.scenarios.idle import HELLO
from bench.servers import LIGHTMOON, Load, serve
from lightmoon_django.conf import Settings

MIB = 1024 * 1024
SIZE = 8000  # bytes of an event
LEAST = 2 * Settings().OUTBOX_BYTES // SIZE  # events: more than waits for anybody, in the outbox and in the sockets
TEXT = "x" * SIZE
PUBLISH = f'{{"jsonrpc":"2.0","id":"{{id}}","method":"bench.Channel.publish","params":{{"key":"1","text":"{TEXT}"}}}}'
RATE = 50_000  # of deliveries: ten events per second to five thousand
TOLD = (Fate.RESET, Fate.DROPPED)
SETTLED = 4  # the first part of the run, in which buffers may grow


def measure(plan: Plan, report: Report, database: Database) -> None:
    websockets, streams = plan.hot
    report.title(f"Hot room: {websockets:,} WebSockets, {streams:,} event streams, one that never reads")
    found = heat(database, websockets, streams, plan.hot_seconds)
    early, late = halves(found.memory)
    report.line(
        f"{found.published:,} events, {found.delivered / found.seconds:,.0f} deliveries/s, "
        f"{1e6 * found.server_cpu * found.seconds / found.delivered:.1f} µs of the server's CPU each; "
        f"memory {early / MIB:.0f} MiB early and {late / MIB:.0f} MiB at most later; "
        f"server {found.server_cpu:.2f} cores, load {found.load_cpu:.2f} cores"
    )
    report.line(f"The one who never reads found {found.fate}.")
    if found.gaps:
        report.warn(f"The first gap: {found.first_gap}")
    report.aim(Aim("silent gaps", found.gaps + found.behind, at_most=0, unit=""))
    report.aim(Aim("resets of subscribers who read", found.resets, at_most=0, unit=""))
    report.aim(Aim("the one who never reads overflows, and is told", float(found.fate in TOLD), at_least=1, unit=""))
    rate = found.delivered / (found.server_cpu * found.seconds)
    report.aim(Aim("deliveries per second of the server's CPU", rate, at_least=RATE, unit=""))
    report.aim(Aim("memory later against early", late / early, at_most=1.2))


def heat(database: Database, websockets: int, streams: int, seconds: float) -> Heat:
    """Run it once."""
    with serve(LIGHTMOON, database) as server:
        load = Load(
            Hot(
                target=server.target("/lightmoon/ws"),
                events_path="/lightmoon/sse",
                hello=HELLO,
                subscribe=SUBSCRIBE,
                publish=PUBLISH,
                websockets=websockets,
                streams=streams,
                seconds=seconds,
                least=LEAST,
            )
        )
        load.wait_started()
        return Heat(**load.outcome())


def halves(memory: list[int]) -> tuple[int, int]:
    """The most in the first part, and the most after it."""
    first = max(1, len(memory) // SETTLED)
    return max(memory[:first]), max(memory[first:] or memory)
