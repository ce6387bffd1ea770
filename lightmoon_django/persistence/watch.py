"""Ends the transactions of turns that were abandoned while they hold SQLite's one write lock.

A thread can't be stopped from outside, but its transaction can be rolled back; without that, one `def` message that
never returns would keep every other writer out for good. PostgreSQL does the same by itself, after
`idle_in_transaction_session_timeout`.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

logger = logging.getLogger("lightmoon")

INTERVAL = 0.1  # seconds between two looks, while somebody holds the lock
IDLE_EXIT = 5.0  # seconds after which the thread ends when nobody does


class Watched(Protocol):
    """A transaction that may have to be ended."""

    def end_if_abandoned(self) -> None: ...


class Watch:
    """Looks after transactions between `add` and `discard`, in a thread that exists only while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        with self._changed:
            self._watched.add(watched)
            if self._thread is None or not self._thread.is_alive():  # a forked child has none
                self._thread = threading.Thread(target=self._run, name="lightmoon-watch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def discard(self, watched: Watched) -> None:
        with self._changed:
            self._watched.discard(watched)

    def _run(self) -> None:
        stop = threading.Event()
        while self._wanted():
            stop.wait(INTERVAL)
            with self._changed:
                watched = list(self._watched)
            for one in watched:
                self._look(one)

    def _wanted(self) -> bool:
        with self._changed:
            if not self._watched and not self._changed.wait_for(lambda: self._watched, IDLE_EXIT):
                self._thread = None
                return False
            return True

    def _look(self, one: Watched) -> None:
        try:
            one.end_if_abandoned()
        except Exception:
            logger.exception("An abandoned transaction could not be ended.", extra={"action": "abandon_failed"})
