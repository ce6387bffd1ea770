"""The server processes, and the load generator's."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from bench.databases import Database
from bench.load.jobs import Calls, Fanout, Job, Measured, Target, to_json
from bench.project import memory

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_PATIENCE = 30.0  # seconds

LIGHTMOON = "bench.project.asgi:application"
CHANNELS = "bench.peers.tuned_channels:application"
BARE = "bench.peers.bare:application"
SETTINGS = {LIGHTMOON: "bench.project.settings", CHANNELS: "bench.peers.settings", BARE: ""}


class Server:
    """One Uvicorn with one application. The same options for everybody, the fastest there are."""

    def __init__(self, application: str, database: Database, environment: dict[str, str]) -> None:
        self.application = application
        self.port = _free_port()
        self._database = database
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", application, "--host", HOST, "--port", str(self.port)),
                *("--ws", "websockets-sansio", "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
                *("--log-level", "warning", "--backlog", "4096", "--timeout-graceful-shutdown", "2"),
                *("--ws-ping-interval", "3600"),  # a generator that holds connections doesn't answer pings
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": SETTINGS[application],
                "BENCH_DATABASE": database.where,
                **environment,
            },
        )

    def wait(self) -> None:
        until = time.monotonic() + START_PATIENCE
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"The server ended with {self._process.returncode} instead of starting.")
            try:
                self.memory()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def target(self, path: str) -> Target:
        return Target(
            host=HOST, port=self.port, path=path, server_pid=self._process.pid, database_pid=self._database.pid
        )

    def memory(self) -> int:
        """Bytes that the process holds after a collection."""
        return int(self.get(memory.PATH))

    def cpu(self, seconds: float) -> float:
        """Cores that the process uses in the next so many seconds."""
        process = psutil.Process(self._process.pid)
        process.cpu_percent()
        time.sleep(seconds)
        used: float = process.cpu_percent() / 100
        return used

    def get(self, path: str) -> bytes:
        """The body of an answer with status 200; anything else is an `OSError`."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"{path} answered {response.status}: {body[:200]!r}")
        return body

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def serve(application: str, database: Database, environment: dict[str, str] | None = None) -> Iterator[Server]:
    """A running server. `environment` is what it gets beside the database."""
    server = Server(application, database, environment or {})
    try:
        server.wait()
        yield server
    finally:
        server.stop()


class LoadError(Exception):
    """The load generator could not do its job; its words say why."""


class Load:
    """A running load generator."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._tell(json.dumps(to_json(job)))

    def wait_started(self) -> dict[str, Any]:
        return self._read()

    def result(self) -> Measured:
        return Measured.read(self.outcome())

    def outcome(self) -> dict[str, Any]:
        """The result of a job that measures something else."""
        found = self._read()
        self._process.communicate()
        return found

    def release(self) -> None:
        """End a job that holds connections."""
        self._process.communicate("\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"failed": f"it ended with {self._process.wait()}"}
        if "failed" in found:
            self._process.communicate()
            raise LoadError(found["failed"])
        return found


def run(job: Calls | Fanout) -> Measured:
    load = Load(job)
    load.wait_started()
    return load.result()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port
