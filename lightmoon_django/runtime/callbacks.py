"""`turn.on_commit`: what runs once a turn is durable. Nothing waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from lightmoon_django.runtime.workers import WorkerPool

logger = logging.getLogger("lightmoon")


class Callbacks:
    """The callbacks of one node's turns, in their order; coroutines run side by side."""

    def __init__(self, loop: asyncio.AbstractEventLoop, workers: WorkerPool, tidy: Callable[[], None]) -> None:
        """`tidy` is called in the worker's thread after its callbacks."""
        self._tidy = tidy
        self._loop = loop
        self._workers = workers
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """No coroutine runs."""
        return not self._tasks

    def run(self, callbacks: Iterable[Callable[[], Any]]) -> None:
        blocking = []
        for one in callbacks:
            if inspect.iscoroutinefunction(one):
                task = self._loop.create_task(_awaited(one), context=contextvars.Context())
                self._tasks.add(task)  # the loop itself keeps only weak references
                task.add_done_callback(self._tasks.discard)
            else:
                blocking.append(one)
        if blocking:
            self._workers.submit(lambda: self._call(blocking), _complain)

    def _call(self, callbacks: list[Callable[[], Any]]) -> None:
        try:
            for one in callbacks:
                _called(one)
        finally:
            self._tidy()


async def _awaited(callback: Callable[[], Any]) -> None:
    try:
        await callback()
    except Exception:
        _log(callback)


def _called(callback: Callable[[], Any]) -> None:
    try:
        callback()
    except Exception:
        _log(callback)


def _complain(outcome: Any) -> None:
    if isinstance(outcome, BaseException):  # no worker could take it
        logger.error("on_commit callbacks did not run: %s", outcome, extra={"action": "on_commit_lost"})


def _log(callback: Callable[[], Any]) -> None:
    logger.exception("The on_commit callback %r failed after its turn was stored.", callback)
