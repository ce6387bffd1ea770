"""From a test to the node's loop and back. Meanwhile the calling thread does the database's work, as in `.sync()`."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from lightmoon_django import testrun
from lightmoon_django.errors import UsageError
from lightmoon_django.runtime.node import Node

T = TypeVar("T")


def run(node: Node, work: Callable[[], Coroutine[Any, Any, T]], limit: float) -> T:
    """Run it on the node's loop and block until it ends. Raises `AssertionError` when the loop itself hangs.

    `limit` is in seconds.
    """
    if _running_loop() is not None:
        raise UsageError("This would block the event loop that the test runs on. Await the form that begins with `a`.")
    future = asyncio.run_coroutine_threadsafe(work(), node.loop)
    try:
        return testrun.wait(future, limit) if testrun.active() else future.result(limit)
    except concurrent.futures.TimeoutError:
        if future.done():
            raise  # it was raised inside
        future.cancel()
        raise AssertionError(f"The node's event loop did not answer for {limit:g} s. Is a turn blocking it?") from None


async def arun(node: Node, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The same from a test that runs on a loop, the node's or another one. Its tasks' asks are on their way by then."""
    await _tasks_begun()
    future = asyncio.run_coroutine_threadsafe(work(), node.loop)
    return await (testrun.wait_async(future) if testrun.active() else asyncio.wrap_future(future))


async def _tasks_begun() -> None:
    """Let tasks that the test has made begin. Under a test runner an ask first looks at the test's connection."""
    await asyncio.sleep(0)
    if testrun.active():
        await sync_to_async(testrun.note_transactions, thread_sensitive=True)()  # behind theirs, in the same thread
        await asyncio.sleep(0)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
