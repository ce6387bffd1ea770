"""Who this process is, so that another one on the same machine can tell whether it still runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One process of one machine. Empty texts mean that the system doesn't tell."""

    host: str  # boot id and pid namespace: a container's pids mean nothing in the next one
    pid: int
    started: str  # ticks since boot, which tells a process from a later one with the same pid


def this_process() -> Process:
    pid = os.getpid()
    return Process(_host(), pid, _started(pid) or "")


def is_provably_dead(process: Process) -> bool:
    """Whether it ran on this host and runs no more. False whenever that can't be known for certain."""
    if not process.host or not process.started or process.host != _host():
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    started = _started(process.pid)
    return started is not None and started != process.started


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return ""
    return f"{boot}/{namespace}" if boot else ""


def _started(pid: int) -> str | None:
    """The 22nd field of /proc/<pid>/stat; None when there is no such process, or it is a zombie's remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the command's name may contain spaces and parentheses
    return "" if fields[0] in "ZX" else fields[19]
