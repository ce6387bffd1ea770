"""`GET /bench/memory`: what the server's process holds, after everything that can be freed is freed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psutil

PATH = "/bench/memory"

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


def with_memory(app: App, answers: Mapping[str, Callable[[], str]] | None = None) -> App:
    """`app`, which also answers how much memory its process holds, and what else there is `answers` for by path."""
    known = {PATH: lambda: str(held()), **(answers or {})}

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in known:
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": known[scope["path"]]().encode()})

    return wrapped


def held() -> int:
    """Bytes of resident memory."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc gives free pages back only when asked
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    resident: int = psutil.Process().memory_info().rss
    return resident
