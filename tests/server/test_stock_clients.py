"""Stock JSON-RPC clients from npm, against real servers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import npm
from tests.databases import Databases
from tests.server.harness import Server

SCRIPT = Path(__file__).with_name("stock_client.mjs")
PACKAGES = ("vscode-ws-jsonrpc@3.5.0", "vscode-jsonrpc@8.2.1", "ws@8.18.3")

SEEN = [
    ["by position", 5],
    ["by name", 7],
    ["padded", 8],
    ["subscribed", {"count": 8}],
    *(["event", "tick", {"number": number}] for number in range(3)),
    ["burst", 3],
    ["error", {"code": 4001, "message": "No.", "data": {"type": "refused", "retryable": False, "detail": {"at": 7}}}],
    ["unknown", -32601],
    ["cancelled", -32800],
    ["state", {"count": 18}],
    ["in the end", 18],
]


@pytest.fixture(scope="module")
def packages(pytestconfig: pytest.Config) -> Path:
    where = npm.install(pytestconfig, *PACKAGES)
    shutil.copy(SCRIPT, where)  # imports are resolved from where a module lies
    return where


@pytest.fixture
def server(databases: Databases, tmp_path: Path) -> Iterator[Server]:
    server = Server("uvicorn", databases.sqlite(tmp_path))
    server.start()
    yield server
    server.stop()


def play(packages: Path, *arguments: str) -> list[object]:
    """What the client logs; the positions of its events must follow each other."""
    done = npm.run(packages, "node", packages / SCRIPT.name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    log = json.loads(done.stdout)
    positions = [entry.pop() for entry in log if entry[0] == "event"]
    assert positions == list(range(positions[0], positions[0] + len(positions)))
    return list(log)


def test_vscode_ws_jsonrpc_calls_receives_events_and_cancels(packages: Path, server: Server) -> None:
    """B64: over WebSocket, by name and by position, padded with nulls."""
    assert play(packages, "ws", f"ws://127.0.0.1:{server.port}/lightmoon/ws", "stock") == SEEN
