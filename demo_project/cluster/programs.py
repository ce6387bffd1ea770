"""The processes that host actors: three web servers and a node without HTTP, each with a log of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO

HOST = "127.0.0.1"
START_PATIENCE = 60.0  # seconds
STOP_PATIENCE = 20.0  # seconds; then it is killed
LOOK = 0.1  # seconds between two looks at whether a program answers
SHOWN = 3000  # characters of a log
HOSTING = "Hosting actors."


class Failed(Exception):
    """A program ended before it answered, or does not answer."""


class Program:
    """One process. It may be started again when it has ended."""

    def __init__(self, name: str, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._since = 0  # where in the log this start of it begins

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._since = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for whoever started it, who ends all in order
            )

    def ended(self) -> int | None:
        """Its exit status, if it has ended; negative for a signal."""
        return self._process.poll() if self._process is not None else None

    def wait(self) -> None:
        """Return when it answers."""
        until = time.monotonic() + START_PATIENCE
        while not self.answers():
            if self.ended() is not None:
                raise Failed(f"{self.name} ended with {self.ended()} before it answered:\n{self._shown()}")
            if time.monotonic() > until:
                raise Failed(f"{self.name} does not answer within {START_PATIENCE:.0f} seconds:\n{self._shown()}")
            time.sleep(LOOK)

    def answers(self) -> bool:
        raise NotImplementedError

    def terminate(self) -> None:
        """Tell it to stop."""
        if self._process is not None:
            self._process.terminate()

    def finish(self) -> None:
        """Wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _written(self) -> str:
        with self._log.open(errors="replace") as log:
            return _from(log, self._since)

    def _shown(self) -> str:
        return self._written()[-SHOWN:]


class WebServer(Program):
    """Uvicorn with the demo."""

    def __init__(self, port: int, directory: Path, environment: Mapping[str, str]) -> None:
        self.url = f"http://{HOST}:{port}/"
        command = [
            *("-m", "uvicorn", "demo_project.asgi:application", "--host", HOST, "--port", str(port)),
            *("--ws", "websockets-sansio", "--timeout-graceful-shutdown", "5"),
        ]
        super().__init__(f"The server on port {port}", command, directory / f"web-{port}.log", environment)

    def answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5) as response:
            return bool(response.status == 200)
        return False


class HostNode(Program):
    """`manage.py lightmoon_node`."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        super().__init__("The host node", ["manage.py", "lightmoon_node"], directory / "node.log", environment)

    def answers(self) -> bool:
        return HOSTING in self._written()


def in_use(port: int) -> bool:
    """Whether somebody listens there already."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _from(log: IO[str], position: int) -> str:
    log.seek(position)
    return log.read()
