"""The runtime in Node: a program beside copies of the modules and of the tests' own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.browser.demo import ROOT

RUNTIME = ROOT / "lightmoon_django" / "static" / "lightmoon_django"
TESTS = Path(__file__).parent / "javascript"
PATIENCE = 60.0  # seconds

needed = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed; Chromium ran the same")


def run(folder: Path, program: str, *arguments: str) -> Any:
    """What the program prints as JSON. The runtime is in `./lightmoon`, the tests' modules in `./javascript`."""
    shutil.copytree(RUNTIME, folder / "lightmoon")
    (folder / "javascript").mkdir()
    for path in TESTS.glob("*.js"):
        text = path.read_text().replace('"/lightmoon/', '"../lightmoon/')
        text = text.replace('"/static/lightmoon_django/', '"../lightmoon/')
        (folder / "javascript" / path.name).write_text(text)
    (folder / "package.json").write_text(json.dumps({"type": "module"}))
    (folder / "run.js").write_text(program)
    return start(folder, "run.js", *arguments)


def start(folder: Path, *command: str) -> Any:
    """What a program of Node prints as JSON, in that folder. Fails with its words when it fails."""
    done = subprocess.run(
        ["node", *_flags(), *command], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _flags() -> list[str]:
    """Node has a WebSocket from version 22 on, and hides one before."""
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return ["--experimental-websocket"] if int(version.lstrip("v").partition(".")[0]) < 22 else []
