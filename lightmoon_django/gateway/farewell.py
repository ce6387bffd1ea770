"""Clients hear that the server stops, and get what they were promised, before the server closes their connections.

Servers tell their applications last: Uvicorn closes WebSockets first, and then waits for every response to end, an
event stream's too. So the signals that stop a server come by here. The first one goes on to the server's own handler
when the farewell is said, which takes a moment; any other at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

logger = logging.getLogger("lightmoon")

STOPPING = (signal.SIGTERM, signal.SIGINT)
_UNHANDLED = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)

Goodbye = Callable[[], Awaitable[None]]

_goodbye: Callable[[Callable[[], object]], None] | None = None  # begins it; may be called in the middle of anything
_task: asyncio.Task[None] | None = None


def prepare(goodbye: Goodbye) -> None:
    """Have `goodbye` run on the running loop when this process is told to stop, if a server handles that."""
    global _goodbye
    if threading.current_thread() is not threading.main_thread():
        return  # no signals come here, as under the autoreloader
    loop = asyncio.get_running_loop()

    def begin(then: Callable[[], object]) -> None:
        loop.call_soon_threadsafe(_start, loop, goodbye, then)

    _goodbye = begin
    for number in STOPPING:
        handler = signal.getsignal(number)
        if handler not in _UNHANDLED and not isinstance(handler, Farewell):
            signal.signal(number, Farewell(handler))


def _start(loop: asyncio.AbstractEventLoop, goodbye: Goodbye, then: Callable[[], object]) -> None:
    global _task
    _task = loop.create_task(_say(goodbye, then), name="lightmoon-farewell")


async def _say(goodbye: Goodbye, then: Callable[[], object]) -> None:
    try:
        await goodbye()
    except Exception:
        logger.exception("Clients could not be told that the server stops.", extra={"action": "farewell_failed"})
    finally:
        then()


class Farewell:
    """A signal's handler before the server's own."""

    def __init__(self, then: Any) -> None:
        self._then = then

    def __call__(self, number: int, frame: Any) -> None:
        global _goodbye
        begin, _goodbye = _goodbye, None
        if begin is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                begin(functools.partial(self._then, number, None))
                return
        self._then(number, frame)
