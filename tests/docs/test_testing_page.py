"""docs/testing.md: its code, in a project as Django makes it, run as its readers would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_readme import files
from tests.testing.installed import ROOT, environment

PAGE = ROOT / "docs" / "testing.md"
SETTINGS = "\nINSTALLED_APPS += ['rest_framework', 'lightmoon_django', 'auctions']\n"


def run(project: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=environment(project) | {"DJANGO_SETTINGS_MODULE": "mysite.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project with the page's files in its app."""
    django = [sys.executable, "-m", "django"]
    env = environment(tmp_path)
    subprocess.run([*django, "startproject", "mysite", "."], cwd=tmp_path, env=env, check=True)
    subprocess.run([*django, "startapp", "auctions"], cwd=tmp_path, env=env, check=True)
    for name, text in files(PAGE).items():
        (tmp_path / name).write_text(text)
    with (tmp_path / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    run(tmp_path, "manage.py", "makemigrations", "auctions")
    return tmp_path


def test_every_block_of_the_page_is_run() -> None:
    """B65: each names its file, so that the tests below find it."""
    assert set(files(PAGE)) == {"auctions/models.py", "auctions/test_bids.py", "auctions/tests.py"}
    assert len(re.findall("```python", PAGE.read_text())) == 3


def test_the_pages_tests_pass(project: Path) -> None:
    """B65, B77: with Django's runner and with pytest, on Django's default database in memory."""
    assert "Ran 3 tests" in run(project, "manage.py", "test")
    shown = run(project, "-m", "pytest", "-q", "auctions/tests.py", "auctions/test_bids.py")
    assert "9 passed" in shown


def test_the_table_names_what_there_is() -> None:
    """B65: and nothing else."""
    from lightmoon_django.testing.driving import NodeClock
    from lightmoon_django.testing.faults import Faults
    from lightmoon_django.testing.recorder import Recorder

    named = set(re.findall(r"`(?:await )?(clock|events|faults)\.(\w+)\(", PAGE.read_text()))
    for group, name in named:
        assert callable(getattr({"clock": NodeClock, "events": Recorder, "faults": Faults}[group], name))
    assert {name for group, name in named if group == "faults"} == {
        name for name, member in vars(Faults).items() if callable(member) and not name.startswith("_")
    }
