"""Tells that nobody waits for, while there is no connection that takes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

logger = logging.getLogger("lightmoon")


class Posts:
    """They are sent when there is a connection. What can't be sent is logged."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, tell: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(tell)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("A tell was not sent: %s", error, extra={"action": "tell_failed"})
