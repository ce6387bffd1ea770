"""Databases for the processes that tests start: each has all tables, though only one of a kind is ever migrated."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests import services

ROOT = Path(__file__).parents[1]
TEMPLATE = "migrated"


class Databases:
    """Copies of one SQLite file, and of one database in a PostgreSQL that nobody stops."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def open(self, backend: str, directory: Path) -> Iterator[dict[str, str]]:
        """A new database, as the environment that names it; on "sqlite" a file in that directory."""
        if backend == "postgresql":
            with self.postgresql() as found:
                yield found
        else:
            yield self.sqlite(directory)

    def sqlite(self, directory: Path) -> dict[str, str]:
        file = directory / "server.sqlite3"
        shutil.copy(self._file, file)
        return {"SERVER_SQLITE": str(file)}

    @contextlib.contextmanager
    def postgresql(self) -> Iterator[dict[str, str]]:
        """It ends with the block, whoever is still connected."""
        name = f"copy_{next(self._numbers)}"
        _execute(self._postgres, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        try:
            yield {"SERVER_PG": _within(self._postgres, name)}
        finally:
            _execute(self._postgres, f"DROP DATABASE {name} WITH (FORCE)")

    @functools.cached_property
    def _file(self) -> Path:
        file = self._directory / "migrated.sqlite3"
        migrate({"SERVER_SQLITE": str(file)})
        return file

    @functools.cached_property
    def _postgres(self) -> services.Postgres:
        server = self._stack.enter_context(services.postgres())
        _execute(server, f"CREATE DATABASE {TEMPLATE}")
        migrate({"SERVER_PG": _within(server, TEMPLATE)})
        return server


def migrate(environment: dict[str, str]) -> None:
    """Make all tables of the database that the environment names."""
    found = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "tests.cluster.settings"}
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--skip-checks", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=found, check=True)


def _within(server: services.Postgres, name: str) -> str:
    return server.uri.replace("/postgres?", f"/{name}?")


def _execute(server: services.Postgres, sql: str) -> None:
    import psycopg

    with psycopg.connect(server.uri, autocommit=True) as connection:
        connection.execute(sql.encode())
