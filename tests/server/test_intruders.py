"""What strangers send to real servers."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Databases
from tests.server.harness import PATIENCE, SERVERS, Server

COOKIE = {"Cookie": r'sessionid="\000' + "a" * 31 + '"'}
BASIC = "Basic " + base64.b64encode(b"ada\0:secret").decode()
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "server.Clicks.add", "params": ["a"]})


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Server]:
    with databases.open("postgresql", tmp_path) as environment:
        server = Server(request.param, environment)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def post(server: Server, **headers: str) -> tuple[int, Any]:
    """The status and the answer of one call by POST."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("POST", "/lightmoon/rpc", CALL, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_what_the_database_can_not_be_asked_for_proves_nothing(server: Server) -> None:
    """B60, B74: a quoted cookie and a token may have a NUL in them. Without the server's log being filled."""
    assert post(server, **COOKIE) == (200, {"jsonrpc": "2.0", "id": 1, "result": 1})
    assert post(server, Authorization=BASIC)[0] == 401
    assert post(server, Authorization="Other x", **COOKIE)[0] == 200
    own = f"http://127.0.0.1:{server.port}"
    with server.client(origin=own, additional_headers=COOKIE) as client:
        assert client.call("server.Clicks.count_now", key="a") == 2
        assert client.fail("lm.hello", protocol=1, token=BASIC)["code"] == 4003
