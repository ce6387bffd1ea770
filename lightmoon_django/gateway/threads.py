"""Work of the gateway that blocks: users, permissions, tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking code that may use the database, not behind the project's other blocking code."""
    call = database_sync_to_async(function, thread_sensitive=False)
    found: R = await call(*args, **kwargs)
    return found
