"""One scripted scenario over every transport, through a real server and a network that breaks."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightmoon_django.client import connection
from tests.browser import node
from tests.browser.chromium import Browser
from tests.client import scenario, tcp
from tests.server.harness import Server
from tests.server.test_tcp import Listener

TRANSPORTS = ("websocket", "sse", "poll")
FLOOD = 10_000  # events
MORE_THAN_HELD = 300  # events; HISTORY is 256


@pytest.fixture
def listener(server: Server) -> Iterator[Listener]:
    """The same project over TCP."""
    listener = Listener(server._environment)
    yield listener
    listener.stop()


def test_the_same_scenario_gives_the_same_results_over_every_transport(
    visitors: Any, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B62: calls, errors, events, state and cancellation, and what is seen before what, byte for byte.

    From JavaScript in a browser over each transport, and from Python over a WebSocket and TCP. Node: see below.
    """
    logs = {}
    for transport in TRANSPORTS:
        visitor = visitors(transport)
        visitor.window.js("s.calls()")
        assert visitor.window.js("s.transport") == transport
        logs[transport] = json.dumps(visitor.log).encode()
    found = asyncio.run(scenario.play(f"ws://127.0.0.1:{visitor.server.port}/lightmoon/ws", "scenario-python"))
    logs["python"] = json.dumps(found).encode()
    with monkeypatch.context() as patch:
        patch.setattr(connection.websocket_client, "connect", tcp.connect)
        found = asyncio.run(scenario.play(f"tcp://127.0.0.1:{listener.port}", "scenario-tcp"))
    logs["tcp"] = json.dumps(found).encode()
    first = json.loads(logs["websocket"])
    assert [entry[0] for entry in first[:6]] == ["state", "add", "tick", "tick", "tick", "burst"]
    assert first[-1] == ["add", 26]
    assert set(logs.values()) == {logs["websocket"]}, logs


NODE = """
const [url, key] = process.argv.slice(2);
const { Scenario } = await import("./javascript/scenario.js");
const logs = {};
for (const transport of ["websocket", "sse", "poll"]) {
  const scenario = new Scenario(transport, `${key}-${transport}`, url);
  await scenario.calls();
  if (scenario.transport !== transport) throw new Error(scenario.transport);
  scenario.close();
  logs[transport] = JSON.stringify(scenario.log);
}
console.log(JSON.stringify(logs));
"""


@node.needed
def test_node_sees_what_a_browser_sees_over_every_transport(visitors: Any, server: Server, tmp_path: Path) -> None:
    """B62: the same modules, without a page. Closed clients keep the process no longer."""
    visitor = visitors("websocket")
    visitor.window.js("s.calls()")
    browser = visitor.window.js("JSON.stringify(s.log)")
    logs = node.run(tmp_path, NODE, f"ws://127.0.0.1:{server.port}/lightmoon/ws", f"node-{secrets.token_hex(4)}")
    assert logs == dict.fromkeys(TRANSPORTS, browser)


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


OVERTAKEN = """
(async (transport, key) => {
  const { Client, actor } = await import("/static/lightmoon_django/index.js");
  const Clicks = actor("server.Clicks", { burst: ["events"] });
  const other = Clicks(key, new Client({ url: "/lightmoon/ws", transports: ["websocket"] }));
  let arrived;
  const event = new Promise((resolve) => (arrived = resolve));
  const slowly = async (url, options) => {
    const response = await fetch(url, options);
    if (!options.body?.includes("lm.subscribe")) return response;
    await other.burst(1);
    await event;
    return response;
  };
  const client = new Client({ url: "/lightmoon/ws", transports: [transport], fetch: slowly });
  client.on("frame", (way, { method }) => way === "received" && method === "lm.event" && setTimeout(arrived));
  return await new Promise((resolve) => Clicks(key, client).on("tick", ({ number }) => resolve(number)));
})
"""


@pytest.mark.parametrize("transport", ["sse", "poll"])
def test_an_event_that_overtakes_the_answer_to_its_subscription_is_seen(
    browser: Browser, server: Server, transport: str
) -> None:
    """B55: over HTTP they come by two connections; and nothing else may ever happen to that actor."""
    window = browser.window(f"http://127.0.0.1:{server.port}/static/empty.html")
    try:
        assert window.js(f"{OVERTAKEN}('{transport}', 'overtaken-{transport}-{secrets.token_hex(4)}')") == 0
    finally:
        window.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_many_large_calls_at_once_are_all_answered(visitors: Any, transport: str) -> None:
    """B21, B62: those that wait for each other go together, but not beyond what the server reads at once."""
    visitor = visitors(transport)
    visitor.window.js("s.heave(6, 40_000)")
    assert visitor.told("heaved") == [[["invalid_params"] * 6]]
    assert visitor.window.js("s.states") == ["connecting", "open"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_that_the_server_can_not_read_ends_and_others_go_on(visitors: Any, transport: str) -> None:
    """B19, B23, B62: and those that were sent together with it."""
    visitor = visitors(transport)
    visitor.window.js("s.garble()")
    assert visitor.told("garbled") == [[[1, "parse_error", "parse_error", 3]]]
    assert visitor.window.js("s.states") == ["connecting", "open"]


NOBODY = """
(async (transport) => {
  const { Client } = await import("/static/lightmoon_django/index.js");
  const client = new Client({ url: "/lightmoon/ws", transports: [transport], token: "Name nobody" });
  const call = client.call("server.Clicks.add", { key: "nobody" });
  const failed = await call.catch(({ type, retryable }) => [type, retryable]);
  client.close();
  return failed;
})
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_whose_token_is_refused_says_so_at_once(browser: Browser, server: Server, transport: str) -> None:
    """B60, B62: its calls don't wait for a connection that it can't have."""
    window = browser.window(f"http://127.0.0.1:{server.port}/static/empty.html")
    try:
        assert window.js(f"{NOBODY}('{transport}')") == ["forbidden", False]
    finally:
        window.close()


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


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_optimistic_updates_give_way_to_the_real_state_without_a_flicker(visitors: Any, transport: str) -> None:
    """Guarantee 9, as a page shows it: each count once, upwards, and at the end what is stored."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    visitor.window.js("s.hurry(30)")
    shown = [count for (count,) in visitor.told("shown")]
    assert (shown[0], shown[-1]) == (26, 56)
    assert shown == sorted(shown)
    assert visitor.told("state")[-1] == [{"count": 56}]


@pytest.mark.parametrize("late", ["answers", "frames"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_optimistic_update_is_never_seen_twice_however_late_answers_or_states_are(
    visitors: Any, transport: str, late: str
) -> None:
    """Each by 150 ms, while somebody else changes the same state: what is shown never goes back, nor ahead."""
    visitor = visitors(transport)
    visitor.late(late)
    visitor.window.js("late.hurryAmong(4, s, 404)")
    shown = [count for _, count in visitor.window.js("late.log")]
    assert (shown[0], shown[-1]) == (0, 404)
    assert shown == sorted(shown)
    assert {count % 100 for count in shown} == {0, 1, 2, 3, 4}
    assert all(count // 100 <= count % 100 for count in shown), "the update was not there yet"


@pytest.mark.parametrize("transport", ["websocket", "sse", pytest.param("poll", marks=pytest.mark.slow)])
def test_an_optimistic_update_stays_shown_while_its_call_is_cut_off(visitors: Any, transport: str) -> None:
    """B57: the page never shows the old count again, and never counts twice."""
    visitor = visitors(transport)
    visitor.window.js("s.calls()")
    visitor.window.js("s.hurryOff()")
    visitor.proxy.cut()
    visitor.proxy.mend()
    visitor.window.js("s.landed()")
    visitor.window.wait("s.log.at(-1)[0] === 'add'")
    shown = [count for (count,) in visitor.told("shown")]
    assert shown[:2] == [26, 27]
    assert set(shown[1:]) == {27, 28}
    assert shown == sorted(shown)
