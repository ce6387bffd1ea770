"""The plug-in, as projects get it: by installing LightMoon, and at no cost to those that don't use it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lightmoon_django import ref, testrun
from lightmoon_django.host import host
from lightmoon_django.testing.kit import Kit
from tests.live.models import Scratch, Tally
from tests.testing.installed import ROOT, environment


def run(*command: str, cwd: Path, entry_points: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment(cwd) if entry_points else {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_loading_it_needs_no_django_project(tmp_path: Path) -> None:
    """B65: no settings, no models, no node."""
    code = (
        "import sys, lightmoon_django.testing.plugin\n"
        "from django.apps import apps; from django.conf import settings\n"
        "print(settings.configured, apps.ready, 'lightmoon_django.models' in sys.modules, "
        "'lightmoon_django.host' in sys.modules)"
    )
    assert run("-c", code, cwd=tmp_path, entry_points=False).split() == ["False"] * 4


def test_it_is_found_where_lightmoon_is_installed(tmp_path: Path) -> None:
    """B65: and a project without Django that has its own fixtures of these names doesn't notice it."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef clock():\n    return 5\n\ndef test_mine(clock):\n    assert clock == 5\n"
    )
    shown = run("-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "--fixtures", cwd=tmp_path)
    assert "faults -- " in shown
    assert "1 passed" in run("-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", cwd=tmp_path)


def test_a_stopped_node_leaves_no_thread(faults: object) -> None:
    """B65: a node for each test costs nothing that stays."""
    for _ in range(5):
        ref(Scratch, "a").add.sync(1)
        assert host.node is not None
        loop = host.node.loop
        host.stop(grace=0.0)
        assert loop.is_closed()
    assert [one for one in threading.enumerate() if one.name == "lightmoon-node"] == []


@pytest.mark.django_db
def test_nothing_of_a_test_goes_on_after_it() -> None:
    """B65: neither its node nor what it had left to do, and the next node has the machine's time."""
    row = Tally.objects.create()
    with Kit():
        row.add.sync(1)
        for _ in range(100):
            row.write_log.tell("later")
    assert host.node is None
    assert testrun.lending.idle
    assert testrun.equipment is testrun.MACHINE
    row.refresh_from_db()
    assert row.count <= 2


@pytest.mark.parametrize("_", range(2))
def test_each_test_has_a_node_of_its_own(faults: object, _: int) -> None:
    """B65: nothing of an earlier test is in memory."""
    assert host.node is None
    assert ref(Scratch, "a").add.sync(1) == 1
