"""Fan-out of 100-byte events from one publisher to many subscribers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.databases import Database
from bench.load.jobs import Fanout, Measured
from bench.peers.bare import PADDING
from bench.plan import Plan, interleaved
from bench.report import Aim, Report
from bench.servers import BARE, CHANNELS, LIGHTMOON, Server, run, serve

LABEL = "LightMoon"
PEER = "Channels group_send"
LOOP = "bare ASGI send loop"

SUBSCRIBE = '{"jsonrpc":"2.0","id":"s","method":"lm.subscribe","params":{"actor":"bench.Channel","key":"1"}}'
PUBLISH = (
    f'{{"jsonrpc":"2.0","id":"{{id}}","method":"bench.Channel.publish","params":{{"key":"1","text":"{PADDING}"}}}}'
)

ON_THEIR_WAY = 16_000  # deliveries; enough that a fast server never waits for the publisher
LARGE = 1000  # subscribers
SLOW_WINDOW = 2  # events; a slow server would only pile up more


def measure(plan: Plan, report: Report, database: Database) -> None:
    for subscribers in plan.subscribers:
        report.title(f"Fan-out of 100-byte events, {subscribers:,} subscribers")
        with _servers(database) as servers:
            found = interleaved(
                plan if subscribers <= LARGE else dataclasses.replace(plan, rounds=plan.large_rounds),
                {label: functools.partial(_run, plan, label, server, subscribers) for label, server in servers.items()},
            )
        report.table("deliveries/s", list(found.items()))
        report.aim(Aim("deliveries against group_send", found[LABEL].rate / found[PEER].rate, at_least=15))
        report.aim(Aim("deliveries against the bare loop", found[LABEL].rate / found[LOOP].rate, at_least=0.85))


@contextmanager
def _servers(database: Database) -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        yield {
            label: stack.enter_context(serve(application, database))
            for label, application in ((LABEL, LIGHTMOON), (PEER, CHANNELS), (LOOP, BARE))
        }


def _run(plan: Plan, label: str, server: Server, subscribers: int) -> Measured:
    mine = label == LABEL
    return run(
        Fanout(
            target=server.target("/lightmoon/ws" if mine else "/follow"),
            subscribe=SUBSCRIBE if mine else "",
            subscribed=RESULT if mine else "ready",
            publisher_path="/lightmoon/ws" if mine else "/publish",
            publish=PUBLISH if mine else '{"id":"{id}"}',
            event='"lm.event"' if mine else "said",
            subscribers=subscribers,
            window=SLOW_WINDOW if label == PEER else max(2, ON_THEIR_WAY // subscribers),
            warm_up=plan.warm_up,
            seconds=plan.seconds,
        )
    )


RESULT = '"epoch"'  # in the answer to a subscription
