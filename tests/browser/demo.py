"""The demo as a real server process, on a database of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.browser.chromium import until

ROOT = Path(__file__).resolve().parent.parent.parent
STARTUP = 30.0  # seconds

SERVERS = {
    "runserver": ("manage.py", "runserver", "--noreload", "{port}"),
    "daphne": ("-m", "daphne", "-b", "127.0.0.1", "-p", "{port}", "demo_project.asgi:application"),
    "uvicorn": (
        "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--ws", "websockets-sansio",
        "demo_project.asgi:application",
    ),
}  # fmt: skip


class Demo:
    """Start it, kill it, start it again: the port and the database stay the same."""

    def __init__(self, folder: Path, server: str = "runserver") -> None:
        self._server = server
        self._folder = folder
        self.database = folder / "demo.sqlite3"
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            "DEMO_DATABASE": str(self.database),
            "PYTHONUNBUFFERED": "1",
        }
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def prepare(self) -> Path:
        """Create the database as `make demo` does. Gives the file."""
        self.manage("migrate", "--verbosity", "0")
        self.manage("seed")
        return self.database

    def manage(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"manage.py {' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [part.format(port=self._port) for part in SERVERS[self._server]]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )
        until(self._answers, lambda: f"{self._server} answers.\n{self.log()}", STARTUP)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self._server} ended.\n{self.log()}"
        try:
            with urllib.request.urlopen(self.url, timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if that isn't heard."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log(self) -> str:
        return (self._folder / "server.log").read_text(errors="replace")[-5000:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
