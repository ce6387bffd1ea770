"""Processes without a server: they call actors, and host none while others do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.processes import PATIENCE, Group
from tests.databases import Databases
from tests.server.harness import ROOT


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def group(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Group]:
    with databases.open(request.param, tmp_path) as environment, Group(environment) as found:
        yield found


def run(group: Group, *arguments: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **group.environment},
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "Traceback" not in found.stderr, found.stderr
    return found.stdout


def shell(group: Group, code: str) -> str:
    code = f"from lightmoon_django import ref; from tests.live.models import Tally, Made; {code}"
    return run(group, "django", "shell", "--verbosity", "0", "-c", code).strip()


def test_sync_code_reaches_actors_and_hosts_none(group: Group) -> None:
    """B68, B78: threads, WSGI and a forked child; nobody has the actor before. What was told arrives after the end."""
    (server,) = group.start(1)
    key = server.do("make", count=0)
    found: dict[str, Any] = json.loads(run(group, "tests.cluster.caller", key))
    assert found == {"plain": 1, "threads": [2, 3, 4], "wsgi": 5, "forked": [6, True], "held": 0}
    assert server.do("has", actor="live.Tally", key=key)
    assert server.ask(key, "get") == 106


def test_a_shell_hosts_actors_while_nobody_else_does(group: Group) -> None:
    """B68: alone it has them; beside a server it leaves them there, and gives back what it had."""
    assert shell(group, "print(ref(Made, 'a').add.sync(5))") == "5"
    (server,) = group.start(1)
    code = "print(ref(Made, 'a').add.sync(1), ref(Made, 'b').add.sync(1)); ref(Made, 'b').add.tell(10)"
    assert shell(group, code) == "6 1"
    assert server.do("held", actor="live.Made") == ["a", "b"]
    assert shell(group, "ref(Made, 'c').add.tell(7)") == ""  # the last that it does is its first call
    assert server.ask("c", "add", 0, actor="live.Made") == 7
    assert server.ask("b", "add", 0, actor="live.Made") == 11


@pytest.mark.parametrize(
    ("first", "last", "counts"), [("add.tell(3)", "tell_other", "4 1"), ("add.sync(3)", "ask_other", "3 1")]
)
def test_what_a_process_told_runs_to_its_end_before_that_ends(group: Group, first: str, last: str, counts: str) -> None:
    """B42, B68: in a process that is alone; also what the turn itself asks and tells of others."""
    shell(group, "Tally.objects.create(pk=1); Tally.objects.create(pk=2)")
    began = time.monotonic()
    assert shell(group, f"ref(Tally, 1).{first}; ref(Tally, 1).{last}.tell('2')") == ""
    assert time.monotonic() - began < PATIENCE / 2  # nobody has waited for somebody who waited for it
    assert shell(group, "print(*Tally.objects.order_by('pk').values_list('count', flat=True))") == counts


def test_a_caller_hands_its_actors_to_a_server_that_starts(group: Group) -> None:
    """Design §4: while it goes on, and without an error for whoever calls them."""
    (caller,) = group.start(1, CALLER="1")
    keys = [caller.make(1000) for _ in range(5)]
    load = caller.begin("count_up", keys=keys, seconds=3.0)
    (server,) = group.start(1)
    until = time.monotonic() + PATIENCE
    while caller.do("held", actor="live.Tally"):
        assert time.monotonic() < until, caller.do("held", actor="live.Tally")
        time.sleep(0.05)
    told = load.result(PATIENCE)
    assert [problem for key in keys for problem in told[key][2]] == []
    assert [server.ask(key, "get") for key in keys] == [1000 + told[key][0] for key in keys]
    assert server.do("held", actor="live.Tally") == sorted(keys)
