"""The whole way, through real servers: from a socket to a row and back."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Databases
from tests.server.harness import SERVERS, Server

BACKENDS = ["sqlite", "postgresql"]


@pytest.fixture(params=[(kind, backend) for kind in SERVERS for backend in BACKENDS], ids="-".join)
def server(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Server]:
    kind, backend = request.param
    with databases.open(backend, tmp_path) as environment:
        server = Server(kind, environment)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def test_what_was_answered_survives_a_kill(server: Server) -> None:
    """B25: SIGKILL right after the answer; the state is there after a restart, with no wait for a lease."""
    with server.client() as client:
        for expected in range(1, 21):
            assert client.call("server.Clicks.add", key="a") == expected
        server.end(signal.SIGKILL)
    server.start()
    with server.client() as client:
        assert client.call("server.Clicks.add", key="a") == 21


def test_a_reminder_outlives_the_server(server: Server) -> None:
    """B45, B46: due while nothing runs, it fires when the server is back, with nobody connected to it."""
    with server.client() as client:
        assert client.call("server.Clicks.add", key="r") == 1
        client.call("server.Clicks.remind", key="r", seconds=0.2)
        server.end(signal.SIGKILL)
    server.start()
    server.request("/")  # a server without lifespan starts the node with its first request
    until = time.monotonic() + 15
    while True:
        with server.client() as client:
            if client.call("server.Clicks.count_now", key="r") == 2:
                return
        assert time.monotonic() < until, "it has not fired"
        time.sleep(0.2)


def test_a_client_is_served_from_hello_to_events(server: Server) -> None:
    """B18, B20, B21, B23, B51, B55: one conversation."""
    with server.client() as client:
        assert client.call("lm.hello", protocol=1, client="test")["protocol"] == 1
        state = client.call("lm.subscribe", actor="server.Clicks", key="b")
        assert state["state"] == {"count": 0}

        assert client.call("server.Clicks.add", key="b", n=5) == 5
        assert client.notifications.pop()["params"]["set"] == {"count": 5}  # precedes its reply
        assert client.call("server.Clicks.blocking", key="b") == 1
        client.notifications.clear()

        assert client.call("server.Clicks.burst", key="b", events=2000) == 2000
        frames = [frame["params"] for frame in client.notifications]
        assert [frame["data"]["number"] for frame in frames] == list(range(2000))
        first = frames[0]["seq"]
        assert [frame["seq"] for frame in frames] == list(range(first, first + 2000))

        assert client.fail("server.Clicks.refuse", key="b")["data"]["detail"] == {"at": 7}
        internal = client.fail("server.Clicks.bug", key="b")
        assert internal["code"] == 5000
        assert internal["data"]["error_id"]
        assert "secret" not in json.dumps(internal)
        missing = {
            client.fail(f"server.Clicks.{name}", key="b")["code"] for name in ("hidden", "__init__", "save", "x.y")
        }
        assert missing == {-32601}

        assert client.fail("server.Clicks.long_text", key="b", size=300_000)["code"] == 4013
        client.send_raw(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "x", "params": ["y" * 150_000]}))
        assert client.receive()["error"]["code"] == 4013

        number = client.send("server.Clicks.sleep", {"key": "b"})
        client.send_raw(json.dumps({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}}))
        assert client.answer(number)["error"]["code"] == -32800
        for _ in range(1000):
            client.send_raw("{bad")
        assert all(client.answer(None)["error"]["code"] == -32700 for _ in range(1000))
        assert client.call("server.Clicks.add", key="b", n=0) == 6


def test_a_foreign_origin_is_refused_before_anything_runs(server: Server) -> None:
    """B60: with an HTTP error, not a connection."""
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus), server.client(origin="http://evil.example"):
        pass
    with server.client(origin=f"http://127.0.0.1:{server.port}") as client:
        assert client.call("lm.ping") is None


def test_a_terminated_server_ends_soon(server: Server) -> None:
    """B42: also with a client connected and an actor in memory."""
    with server.client() as client:
        client.call("server.Clicks.add", key="c")
        server.end(signal.SIGTERM)
    server.start()
    with server.client() as client:
        assert client.call("server.Clicks.add", key="c") == 2
