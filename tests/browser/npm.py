"""Packages of npm that only the tests need. They stay beside their lock file, and are fetched when that changes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

LOCK = Path(__file__).parent / "packages" / "package-lock.json"
PATIENCE = 300.0  # seconds


def install() -> Path | None:
    """Where the packages are. None where there is no npm, or where it reaches no registry (unless CI is set)."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    with (LOCK.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in several processes
        return _installed(npm, LOCK.parent / "node_modules")


def _installed(npm: str, modules: Path) -> Path | None:
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    stamp = modules / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return modules
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=LOCK.parent, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode and "CI" not in os.environ:
        return None
    assert done.returncode == 0, f"npm ci\n{done.stdout}{done.stderr}"
    stamp.write_text(wanted)
    return modules
