"""A real server process, and a plain WebSocket client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds for a server to answer

SERVERS = {
    "uvicorn": ["-m", "uvicorn", "tests.server.asgi:application", "--log-level", "warning", "--port"],
    "daphne": ["-m", "daphne", "tests.server.asgi:application", "-p"],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server over one database, which can be killed and started again."""

    def __init__(self, kind: str, environment: dict[str, str]) -> None:
        self.kind = kind
        self.port = free_port()
        self._environment = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "tests.server.settings"}
        self._process: subprocess.Popen[bytes] | None = None

    def deploy(self, **environment: str) -> None:
        """What the next start runs with besides."""
        self._environment |= environment

    def manage(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=self._environment,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        command = [sys.executable, *SERVERS[self.kind], str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            if self._process.poll() is not None:
                pytest.fail(f"{self.kind} ended with {self._process.returncode}")
            time.sleep(0.02)  # it needs the processor more than this loop does
        pytest.fail(f"{self.kind} does not listen after {PATIENCE} s")

    def tell(self, how: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(how)

    def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait. Answers the exit status."""
        self.tell(how)
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end()

    def request(self, path: str) -> int:
        """The status of an ordinary request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    @contextlib.contextmanager
    def client(self, **headers: Any) -> Iterator[Client]:
        with connect(f"ws://127.0.0.1:{self.port}/lightmoon/ws", max_size=None, **headers) as socket_:
            yield Client(socket_)


class Client:
    """Stock JSON-RPC over a WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._next = 0
        self.notifications: list[dict[str, Any]] = []

    def send(self, method: str, params: Any) -> int:
        self._next += 1
        self.send_raw(json.dumps({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}))
        return self._next

    def send_raw(self, frame: str | bytes | list[str], **options: Any) -> None:
        self._connection.send(frame, **options)

    def receive(self) -> Any:
        return json.loads(self._connection.recv(PATIENCE))

    def answer(self, number: int | None) -> dict[str, Any]:
        """The response with that id; notifications on the way are kept."""
        while True:
            frame = self.receive()
            if "method" in frame:
                self.notifications.append(frame)
            elif frame["id"] == number:
                return dict(frame)

    def read_out(self) -> None:
        """Keep the notifications that came before the connection was closed. Who sends to it has not seen them."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = self.receive()
                if "method" in frame:
                    self.notifications.append(frame)

    def call(self, method: str, **params: Any) -> Any:
        response = self.answer(self.send(method, params))
        assert "error" not in response, response
        return response["result"]

    def fail(self, method: str, **params: Any) -> dict[str, Any]:
        response = self.answer(self.send(method, params))
        return dict(response["error"])
