"""Packages from npm that tests hold LightMoon against: the TypeScript compiler, stock JSON-RPC clients."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PATIENCE = 90.0  # seconds for an installation


def install(config: pytest.Config, *packages: str) -> Path:
    """A directory whose `node_modules` has these packages, `name@version`, kept in pytest's cache.

    Skips the test where there is no Node, or where npm can't fetch them.
    """
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            pytest.skip(f"There is no {name} on this machine (on Debian: apt-get install nodejs npm).")
    cache = config.cache
    assert cache is not None
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    home = cache.mkdir("lightmoon-npm")
    wanted = home / digest
    if not wanted.exists():
        _fetch(home, wanted, packages)
    return wanted


def _fetch(home: Path, wanted: Path, packages: tuple[str, ...]) -> None:
    directory = Path(tempfile.mkdtemp(dir=home))
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--prefer-offline")
    try:
        done = subprocess.run(
            ["npm", "install", *options, "--prefix", directory, *packages],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"npm could not fetch {' '.join(packages)}: {done.stderr.strip()[:300]}")
        os.rename(directory, wanted)  # in one step: other test processes may be at it too
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not fetch {' '.join(packages)} within {PATIENCE:.0f} s.")
    except OSError:
        if not wanted.exists():
            raise
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(where: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of an installed package, or `node`, in that directory."""
    local = where / "node_modules" / ".bin" / str(command[0])
    first = local if local.exists() else command[0]
    return subprocess.run(
        [first, *command[1:]], cwd=where, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
