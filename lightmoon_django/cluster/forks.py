"""How often this process was forked from the one that was started: asked for where a pid would cost a system call."""

from __future__ import annotations

import os

count = 0


def _forked() -> None:
    global count
    count += 1


os.register_at_fork(after_in_child=_forked)
