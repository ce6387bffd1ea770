"""What a server knows about a client and ASGI doesn't say: how much waits for it, and how to let go of it at once.

Both are best effort: where a server isn't recognised there is no backlog to see, and a connection ends politely.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

SANS_IO = "uvicorn.protocols.websockets.websockets_sansio_impl"  # where the protocol lives whose insides we know


def backlog_of(send: Any) -> Callable[[], int] | None:
    """The bytes that Daphne holds for the client, whose `send` never waits; None for servers whose `send` does."""
    transport = _twisted_transport(send)
    if transport is None or not hasattr(transport, "dataBuffer") or not hasattr(transport, "_tempDataLen"):
        return None

    def backlog() -> int:
        return len(transport.dataBuffer) - getattr(transport, "offset", 0) + int(transport._tempDataLen)

    return backlog


def abort(send: Any) -> None:
    """Close the socket without waiting for a client that doesn't read."""
    twisted = _twisted_transport(send)
    if twisted is not None:
        twisted.abortConnection()
        return
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None and hasattr(transport, "abort"):
        transport.abort()


def _twisted_transport(send: Any) -> Any:
    if not isinstance(send, functools.partial) or not send.args:
        return None
    transport = getattr(send.args[0], "transport", None)
    return transport if hasattr(transport, "abortConnection") else None
