"""How many connections this machine lets one process have."""

from __future__ import annotations

import resource

SPARE = 500  # files that a process has open besides: libraries, the database, links


def raise_limit() -> int:
    """Let this process and its children have as many open files as they may. Answers how many connections that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE
