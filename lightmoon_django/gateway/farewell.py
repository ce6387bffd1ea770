"""Clients hear that the server stops before the server closes their connections.

Servers tell their applications last: Uvicorn closes WebSockets first, and then waits for every response to end, an
event stream's too. So the signals that stop a server come by here, and go on to the server's own handler.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import threading
from collections.abc import Callable
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
_UNHANDLED = (None, signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler)

_goodbye: Callable[[], object] | None = None  # may be called in the middle of anything


def prepare(goodbye: Callable[[], object]) -> None:
    """Have `goodbye` called on the running loop when this process is told to stop, if a server handles that."""
    global _goodbye
    if threading.current_thread() is not threading.main_thread():
        return  # no signals come here, as under the autoreloader
    loop = asyncio.get_running_loop()
    _goodbye = functools.partial(loop.call_soon_threadsafe, goodbye)
    for number in STOPPING:
        handler = signal.getsignal(number)
        if handler not in _UNHANDLED and not isinstance(handler, Farewell):
            signal.signal(number, Farewell(handler))


class Farewell:
    """A signal's handler before the server's own."""

    def __init__(self, then: Any) -> None:
        self._then = then

    def __call__(self, number: int, frame: Any) -> None:
        if _goodbye is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                _goodbye()
        self._then(number, frame)
