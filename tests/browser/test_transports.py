"""One scripted scenario over every transport, through a real server and a network that breaks."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import Browser, Window
from tests.browser.proxy import Proxy
from tests.server.harness import Server

TRANSPORTS = ("websocket", "sse", "poll")
FLOOD = 10_000  # events
MORE_THAN_HELD = 300  # events; HISTORY is 256


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server("uvicorn", {"SERVER_SQLITE": str(tmp_path_factory.mktemp("transports") / "server.sqlite3")})
    server.manage("migrate", "--run-syncdb", "--verbosity", "0")
    server.start()
    yield server
    server.stop()


class Visitor:
    """A page that plays the scenario behind a network that can be cut."""

    def __init__(self, window: Window, proxy: Proxy, server: Server, transport: str) -> None:
        self.window, self.proxy, self.server, self.transport = window, proxy, server, transport
        self.key = f"scenario-{transport}-{proxy.port}"
        made = (
            f"import('/static/scenario.js').then(({{ Scenario }}) => {{ globalThis.s = new Scenario({self._made}) }})"
        )
        window.js(made)

    @property
    def _made(self) -> str:
        return f"{json.dumps(self.transport)}, {json.dumps(self.key)}"

    @property
    def log(self) -> list[Any]:
        found: list[Any] = self.window.js("s.log")
        return found

    def told(self, kind: str) -> list[Any]:
        return [entry[1:] for entry in self.log if entry[0] == kind]

    def elsewhere(self, events: int) -> None:
        """Somebody else makes the actor emit."""
        with self.server.client() as other:
            other.call("server.Clicks.burst", key=self.key, events=events)


@pytest.fixture
def visitors(browser: Browser, server: Server) -> Iterator[Any]:
    """Makes a visitor for a transport."""
    opened: list[Any] = []

    def visit(transport: str) -> Visitor:
        proxy = Proxy(server.port).__enter__()
        window = browser.window(f"http://127.0.0.1:{proxy.port}/static/empty.html")
        opened.append((proxy, window))
        return Visitor(window, proxy, server, transport)

    yield visit
    for proxy, window in opened:
        window.close()
        proxy.__exit__()


def test_the_same_scenario_gives_the_same_results_over_every_transport(visitors: Any) -> None:
    """B62: calls, errors, events, state and cancellation, and what is seen before what, byte for byte."""
    logs = {}
    for transport in TRANSPORTS:
        visitor = visitors(transport)
        visitor.window.js("s.calls()")
        assert visitor.window.js("s.transport") == transport
        logs[transport] = json.dumps(visitor.log).encode()
    first = json.loads(logs["websocket"])
    assert [entry[0] for entry in first[:6]] == ["state", "add", "tick", "tick", "tick", "burst"]
    assert first[-1] == ["add", 26]
    assert logs["websocket"] == logs["sse"] == logs["poll"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_whose_connection_is_cut_resolves_exactly_once(visitors: Any, transport: str) -> None:
    """B57, B50: in flight, and while nobody is connected its answer waits."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    visitor.window.js("s.depart()")
    visitor.proxy.cut()
    visitor.proxy.mend()
    visitor.window.js("s.landed()")
    assert visitor.told("slow") == [[27]]
    assert visitor.told("add")[-1] == [28]
    assert visitor.told("recovered") == [[True]] or transport == "poll"  # a browser sends idle requests again itself
    assert visitor.told("reset") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_was_missed_comes_once_each_or_a_snapshot_does(visitors: Any, transport: str) -> None:
    """B55, B56: with a position that is held, and with one that is not."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    visitor.proxy.cut()
    visitor.elsewhere(5)
    visitor.proxy.mend()
    visitor.window.wait("s.seen(8, 0)")
    seqs = [seq for _, seq in visitor.told("tick")]
    assert [number for number, _ in visitor.told("tick")] == [0, 1, 2, 0, 1, 2, 3, 4]
    assert seqs[-5:] == list(range(seqs[-5], seqs[-5] + 5))
    assert (visitor.told("reset"), visitor.told("recovered")) == ([], [[True]])

    visitor.proxy.cut()
    visitor.elsewhere(MORE_THAN_HELD)
    visitor.proxy.mend()
    visitor.window.wait("s.seen(8, 1)")
    ((reason, state),) = visitor.told("reset")
    assert state == {"count": 26}
    assert reason in ("reconnected", "gap")  # whichever of the two it notices first
    assert len(visitor.told("tick")) == 8


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_flood_of_events_is_gap_free_or_says_where_it_is_not(visitors: Any, transport: str) -> None:
    """B55: also where a transport can't take it all at once."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    start = len(visitor.told("tick"))
    visitor.elsewhere(FLOOD)
    visitor.window.wait(f"s.seen({start + FLOOD}, 0) || s.seen(0, 1)")
    visitor.window.js("s.landed()")
    visitor.elsewhere(1)
    visitor.window.wait("s.log.at(-1)[0] === 'tick'")
    flood = [entry for entry in visitor.log if entry[0] in ("tick", "reset")][start:]
    for (kind, *one), (next_kind, *other) in itertools.pairwise(flood):
        assert "reset" in (kind, next_kind) or other[0] in (one[0] + 1, 0), (one, other)
    assert len(flood) > FLOOD or any(kind == "reset" for kind, *_ in flood)
    assert visitor.told("state")[-1] == [{"count": 27}]


def test_pages_see_each_other_come_and_go(browser: Browser, server: Server) -> None:
    """Presence, over every transport: by a snapshot, a diff, a page that is closed and one that is left."""
    windows = {}
    for transport in TRANSPORTS:
        window = windows[transport] = browser.window(f"http://127.0.0.1:{server.port}/static/empty.html")
        made = f"import('/static/lobby.js').then(({{ Visit }}) => {{ globalThis.v = new Visit('{transport}') }})"
        window.js(made)
        window.wait(f"v.connections === {len(windows)}")
    for window in windows.values():
        window.wait("v.connections === 3")
    windows["sse"].close()
    windows["websocket"].wait("v.connections === 2")
    windows["poll"].goto(f"http://127.0.0.1:{server.port}/static/empty.html")
    windows["websocket"].wait("v.connections === 1")
    assert windows["websocket"].js("v.log.map(([joins, leaves]) => [...joins, ...leaves]).flat()") == [""]
    windows["poll"].close()
    windows["websocket"].close()
