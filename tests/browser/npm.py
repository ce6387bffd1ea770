"""Packages of npm that only the tests need. They stay beside their lock file, and are fetched when that changes."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
from pathlib import Path

LOCK = Path(__file__).parent / "packages" / "package-lock.json"
PATIENCE = 90.0  # seconds


@functools.cache
def install() -> Path | None:
    """Where the packages are. None where there is no npm, or where it reaches no registry."""
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
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0"]
    try:
        subprocess.run(command, cwd=LOCK.parent, capture_output=True, timeout=PATIENCE, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    stamp.write_text(wanted)
    return modules
