"""What networks, servers and machines do to a page, in a real browser: it recovers by itself and says how it is."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.browser.visitor import Visitor
from tests.server.harness import Server

HEARTBEAT = 2  # seconds
SERVER = {"SERVER_HEARTBEAT": str(HEARTBEAT)}

# What these have in common over HTTP is also shown in a moment by javascript/test_ladder.js.
by_every_transport = pytest.mark.parametrize(
    "transport", ["websocket", *(pytest.param(one, marks=pytest.mark.slow) for one in ("sse", "poll"))]
)


def start_working(visitor: Visitor) -> int:
    """The visitor adds and adds; gives the count before."""
    visitor.window.js("s.calls()")
    visitor.window.js("(s.work().catch((error) => (s.trouble = error.message)), 0)")
    visitor.window.wait("s.counts.acknowledged > 5")
    return 26


def rest(visitor: Visitor, before: int) -> None:
    """Everything acknowledged is there, once; what is shown is what there is."""
    acknowledged = visitor.window.js("s.counts.acknowledged")
    visitor.window.wait(f"s.counts.acknowledged > {acknowledged + 5}")
    count, shown = visitor.window.js("s.rest()")
    counts = visitor.window.js("s.counts")
    assert before + counts["acknowledged"] <= count <= before + counts["acknowledged"] + counts["unknown"] + 1
    assert shown == count
    assert visitor.window.js("s.trouble ?? null") is None
    states = visitor.window.js("s.states")
    assert states[:2] == ["connecting", "open"]
    assert states[-1] == "open"


@by_every_transport
def test_a_server_that_is_killed_and_started_again(visitors: Any, server: Server, transport: str) -> None:
    """B58, B57: nothing acknowledged is lost, nothing is done twice, and the page says that it waits."""
    visitor = visitors(transport)
    before = start_working(visitor)
    server.end()
    visitor.window.wait("s.states.at(-1) === 'waiting'")
    server.start()
    visitor.window.wait("s.states.at(-1) === 'open'")
    rest(visitor, before)
    assert visitor.told("recovered")[-1] == [False]
    assert {reason for reason, _ in visitor.told("reset")} == {"reconnected"}


@by_every_transport
def test_a_server_that_is_told_to_stop_answers_what_is_under_way(visitors: Any, server: Server, transport: str) -> None:
    """B42, B58: also where the answer doesn't come by the connection that ends first."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    visitor.window.js("s.depart()")
    time.sleep(0.5)  # until it has come
    server.end(signal.SIGTERM)
    visitor.window.js("s.flight")
    server.start()
    assert visitor.told("slow") == [[27]]
    visitor.window.js("s.landed()")
    assert visitor.told("add")[-1] == [28]


@by_every_transport
def test_a_connection_that_is_open_at_one_end_only(visitors: Any, transport: str) -> None:
    """B58: nothing is refused and nothing arrives; the silence is noticed within a heartbeat, the session goes on."""
    visitor = visitors(transport)
    before = start_working(visitor)
    known = visitor.window.js("s.states.length")
    visitor.proxy.silence()
    visitor.window.wait(f"s.states.length > {known}", patience=3 * HEARTBEAT + 2)  # it may soon be open again
    visitor.window.wait("s.states.at(-1) === 'open'")
    rest(visitor, before)
    assert visitor.told("recovered") == [[True]]
    assert visitor.window.js("s.counts.unknown") == 0
    assert visitor.told("reset") == []


@by_every_transport
def test_a_page_that_sleeps_and_wakes_up(visitors: Any, transport: str) -> None:
    """B56: a laptop that is closed; meanwhile its connections die without a word, and others go on."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    visitor.window.js("globalThis.beats = 0, setInterval(() => (beats += 1), 5)")
    visitor.window.wait("beats > 1")
    visitor.window.send("Page.setWebLifecycleState", {"state": "frozen"})
    visitor.proxy.silence()
    beats = visitor.window.js("beats")
    visitor.elsewhere(5)
    assert visitor.window.js("beats") == beats
    visitor.window.send("Page.setWebLifecycleState", {"state": "active"})
    visitor.window.wait("s.seen(8, 0)")
    assert [number for number, _ in visitor.told("tick")] == [0, 1, 2, 0, 1, 2, 3, 4]
    assert visitor.told("reset") == []
    visitor.elsewhere(1)
    visitor.window.wait("s.seen(9, 0)")


@pytest.mark.slow
def test_a_proxy_that_lets_nothing_through_but_whole_answers(visitors: Any) -> None:
    """No WebSocket, and event streams that are kept until they end: the page polls, and all is as ever."""
    visitor = visitors("websocket", "sse", "poll", refused=[b"Upgrade: websocket"], buffered=[b"GET /lightmoon/sse"])
    visitor.window.js("s.calls()")
    assert visitor.window.js("s.transport") == "poll"
    assert visitor.told("add")[-1] == [26]
    assert [number for number, _ in visitor.told("tick")] == [0, 1, 2]
    assert set(visitor.window.js("s.states")) == {"connecting", "waiting", "open"}
