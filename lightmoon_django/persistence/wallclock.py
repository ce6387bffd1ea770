"""The machine's clock, as the tables hold times."""

from __future__ import annotations

import time


def system_clock() -> int:
    """Microseconds since 1970. It also orders the claims of a database that lives on this machine."""
    return time.time_ns() // 1000
