"""Processes that host actors and serve nobody, as a scenario sees them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench.databases import Database
from bench.servers import ROOT


class Host:
    """One `bench.hosting`. Its `environment` may put it on a machine of its own: see `bench.project.apps`."""

    def __init__(self, database: Database, environment: dict[str, str]) -> None:
        settings = {"DJANGO_SETTINGS_MODULE": "bench.project.settings", "BENCH_DATABASE": database.where}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.hosting"],
            cwd=ROOT,
            env={**os.environ, **settings, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, do: str, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"A hosting process ended with {self.process.wait()}.")
        return json.loads(line)

    def do(self, do: str, **order: Any) -> Any:
        self.begin(do, **order)
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def hosting(database: Database, *environments: dict[str, str]) -> Iterator[list[Host]]:
    """Running processes, one per environment."""
    hosts = [Host(database, environment) for environment in environments]
    try:
        for host in hosts:
            host.answer()
        yield hosts
    finally:
        for host in hosts:
            host.close()
