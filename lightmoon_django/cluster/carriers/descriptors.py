"""File descriptors that a forked child must not keep.

A child with a copy of the parent's connections would keep them open when the parent dies, so that nobody notices; with
a copy of the listening socket it would take calls into a queue that nobody reads.
"""

from __future__ import annotations

import contextlib
import os
import weakref

_all: weakref.WeakSet[Descriptors] = weakref.WeakSet()


class Descriptors:
    """Those of one carrier."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        _all.add(self)

    def add(self, fd: int) -> None:
        self._open.add(fd)

    def discard(self, fd: int) -> None:
        """Before it is closed: afterwards its number may be somebody else's."""
        self._open.discard(fd)

    def abandon(self) -> None:
        """Let go of them without a word on the connections.

        Their numbers stay taken, by the null device: objects that came along into the child will close them some time,
        and would close what got the same number there. The event loop is told nothing, for it shares its epoll with
        the parent's.
        """
        null = os.open(os.devnull, os.O_RDWR)
        for fd in self._open:
            with contextlib.suppress(OSError):
                os.dup2(null, fd, inheritable=False)
        os.close(null)
        self._open.clear()


def _abandon_all() -> None:
    for descriptors in list(_all):
        descriptors.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
