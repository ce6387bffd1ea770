"""`lightmoon_node` and `lightmoon_status`, beside another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.processes import PATIENCE, Group
from tests.databases import Databases
from tests.server.harness import ROOT


@pytest.fixture
def group(databases: Databases, tmp_path: Path) -> Iterator[Group]:
    with Group(databases.sqlite(tmp_path)) as found:
        yield found


DEN = "cluster.Den"
ALL = "all that are in memory only"


def status(group: Group, *arguments: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-m", "django", "lightmoon_status", *arguments],
        cwd=ROOT,
        env={**os.environ, **group.environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.splitlines()


def test_a_node_takes_over_and_gives_back(group: Group) -> None:
    """Design §4: a process without HTTP is a node like any other; what is owned where can be seen."""
    assert status(group) == ["No node hosts actors of 'default'."]
    (member,) = group.start(1)
    keys = [member.make(100) for _ in range(3)]
    with subprocess.Popen(
        [sys.executable, "-m", "django", "lightmoon_node", "--role", "game"],
        cwd=ROOT,
        env={**os.environ, **group.environment},
        stdout=subprocess.PIPE,
        text=True,
    ) as node:
        try:
            assert node.stdout is not None
            assert node.stdout.readline() == "Hosting actors.\n"
            until = time.monotonic() + PATIENCE
            while len(lines := status(group)) < 2 or ALL in lines[0]:  # until it shares them
                assert time.monotonic() < until, lines
            assert f"process {member.process.pid}  alive" in lines[0]
            assert lines[0].endswith("  3 live.Tally")
            assert f"process {node.pid}  alive" in lines[1]
            assert lines[1].endswith("  no actors")
            while not member.do("known"):
                assert time.monotonic() < until
            assert member.ask("chess", "add", actor="live.Game") == 1
            assert member.do("held", actor="live.Game") == []  # the role that it names goes before having none
            held = member.asking(keys[0], "hold", "gate")
            member.until_logged(["holding", "gate"])
            queued = member.asking(keys[0], "add", 5)
            stopping = member.begin("stop", grace=10.0)
            member.until(lambda: member.do("stopping"), True)  # it takes no more turns
            member.do("open", gate="gate")
            assert held.result(10) == 101
            assert queued.result(10) == 106
            stopping.result(10)
            assert [line for line in status(group) if line.endswith("  1 live.Game, 1 live.Tally")]
            node.send_signal(signal.SIGTERM)
            assert node.wait(PATIENCE) == 0
        finally:
            node.kill()
    (last,) = status(group)  # it was the last one, so its row waits for whoever comes
    assert last.endswith("  dead  1 live.Game, 1 live.Tally")
    assert len(status(group, "--all")) == 2
    (another,) = group.start(1)
    assert [another.ask(key, "get") for key in keys] == [106, 100, 100]


def test_actors_in_memory_only_are_shown_too(group: Group) -> None:
    """Design §4: by their places; one process that is alone has none, and yet all of them."""
    (first,) = group.start(1)
    first.until(partial(first.do, "alone"), True)
    assert first.ask("a", "add", actor=DEN) == 1
    (line,) = status(group)
    assert line.endswith(f"  {ALL}")
    (second,) = group.start(1)
    first.until(partial(first.do, "alone"), False)
    for key in ("b", "c"):
        assert second.ask(key, "add", actor=DEN) == 1
    assert second.ask("a", "add", actor="live.Scratch") == 1
    first.until(lambda: [line.split("  ")[-1] for line in status(group)], [f"1 {DEN}", f"2 {DEN}, 1 live.Scratch"])
