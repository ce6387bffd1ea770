"""The README, done as a newcomer does it: its files, its commands, and two windows."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, until

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
STARTUP = 30.0  # seconds


def files(page: Path = README) -> dict[str, str]:
    """The code blocks that name their file in the first line."""
    blocks = re.findall(r"```\w+\n(?:# |<!-- )(\S+\.\w+)(?: -->)?\n(.*?)```", page.read_text(), re.DOTALL)
    return dict(blocks)


def manage(project: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=project,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"manage.py {' '.join(command)}\n{done.stdout}{done.stderr}"


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project and app as Django makes them, with the README's files over them."""
    run = [sys.executable, "-m", "django"]
    subprocess.run([*run, "startproject", "mysite", "."], cwd=tmp_path, env=_environment(), check=True)
    subprocess.run([*run, "startapp", "counter"], cwd=tmp_path, env=_environment(), check=True)
    for name, text in files().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if name.endswith("settings.py") else ""
        path.write_text(f"{before}\n{text}")
    return tmp_path


@contextmanager
def serving(project: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (project / "server.log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
        cwd=project,
        env=_environment(),
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        until(lambda: _answers(url), lambda: f"runserver answers.\n{(project / 'server.log').read_text()}", STARTUP)
        yield url
    finally:
        process.kill()
        process.wait()
        log.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def test_the_counter_is_about_twenty_lines() -> None:
    """The README promises a small one."""
    lines = [files()[name] for name in ("counter/models.py", "counter/templates/counter.html")]
    assert sum(bool(line.strip()) for text in lines for line in text.splitlines()) <= 21


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_counter_of_the_readme_works_in_two_windows(project: Path) -> None:
    """Made with Django's own commands; counted in one window, seen in both, still there after a kill."""
    manage(project, "makemigrations", "counter")
    manage(project, "migrate")
    manage(project, "check", "--fail-level", "WARNING", "--database", "default")
    shown = "document.querySelector('button').textContent"
    with Browser() as browser:
        with serving(project) as url:
            first, second = browser.window(url), browser.window(url)
            first.wait(f"{shown} === '0'")
            first.js("document.querySelector('button').click()")
            first.js("document.querySelector('button').click()")
            second.wait(f"{shown} === '2'")
        with serving(project) as url:
            browser.window(url).wait(f"{shown} === '2'")
