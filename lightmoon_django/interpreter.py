"""What LightMoon asks of the interpreter: better defaults for a busy node, and a word before the end."""

from __future__ import annotations

import atexit
import gc
import sys
import threading
from collections.abc import Callable

DEFAULT_SWITCH_INTERVAL = 0.005  # seconds
DEFAULT_GC_THRESHOLDS = (700, 2000)  # of Python's versions
GC_THRESHOLD = 20_000  # allocations; a turn makes a dozen objects and leaves no cycles
SWITCH_INTERVAL = 0.0005  # seconds; at 5 ms the store's thread waits long for a busy loop


def tune() -> None:
    """Python's defaults cost a busy node a fifth of its time: see docs/design.md. Settings of the project's stand."""
    if sys.getswitchinterval() == DEFAULT_SWITCH_INTERVAL:
        sys.setswitchinterval(SWITCH_INTERVAL)
    if gc.get_threshold()[0] in DEFAULT_GC_THRESHOLDS:
        gc.collect()
        gc.freeze()  # what is loaded now lives as long as the process
        gc.set_threshold(GC_THRESHOLD, 10, 50)


def before_exit(leave: Callable[[], None]) -> None:
    """Call that when the main thread ends, while threads can still be given work, which `atexit` is too late for."""
    register = getattr(threading, "_register_atexit", atexit.register)
    register(leave)
