"""Packages of npm that only the tests need. They stay beside their lock file, and are fetched when that changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

LOCK = Path(__file__).parent / "packages" / "package-lock.json"
PATIENCE = 300.0  # seconds


def install() -> Path | None:
    """Where the packages are. None where there is no npm, or where it reaches no registry (unless CI is set)."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    modules = LOCK.parent / "node_modules"
    stamp = modules / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return modules
    with tempfile.TemporaryDirectory(dir=LOCK.parent) as folder:  # so that two runs don't meet in one folder
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCK.parent / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode and "CI" not in os.environ:
            return None
        assert done.returncode == 0, f"npm ci\n{done.stdout}{done.stderr}"
        fresh = Path(folder) / "node_modules"
        (fresh / ".installed").write_text(wanted)
        shutil.rmtree(modules, ignore_errors=True)
        fresh.rename(modules)
    return modules
