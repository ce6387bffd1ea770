"""What a connection that waits for its next message need not keep: most of them wait most of the time.

Under Uvicorn each WebSocket has an `asyncio.Queue`, with four deques, for one reader and
mostly no message. Where the server isn't recognised nothing changes but that.
"""

from __future__ import annotations

import asyncio
from typing import Any

from lightmoon_django.gateway.transport import SANS_IO


def lighten(receive: Any) -> None:
    """Give the connection a queue that weighs little. Call it from its reader, with `receive` as the server gave it."""
    protocol: Any = getattr(receive, "__self__", None)
    if type(protocol).__module__ != SANS_IO:
        return
    queue = getattr(protocol, "queue", None)
    if type(queue) is not asyncio.Queue or queue.maxsize:
        return
    lighter = Queue()
    while not queue.empty():
        lighter.put_nowait(queue.get_nowait())
    protocol.queue = lighter


class Queue:
    """As much of an unbounded `asyncio.Queue` as a connection uses, for one reader. Empty it is one small object."""

    __slots__ = ("_items", "_reader")

    def __init__(self) -> None:
        self._items: list[Any] | None = None
        self._reader: asyncio.Future[None] | None = None  # waits for an item

    def qsize(self) -> int:
        return len(self._items) if self._items else 0

    def empty(self) -> bool:
        return not self._items

    def put_nowait(self, item: Any) -> None:
        if self._items is None:
            self._items = []
        self._items.append(item)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def get_nowait(self) -> Any:
        """Raises `asyncio.QueueEmpty`."""
        if not self._items:
            raise asyncio.QueueEmpty
        item = self._items.pop(0)
        if not self._items:
            self._items = None
        return item

    async def put(self, item: Any) -> None:
        self.put_nowait(item)

    async def get(self) -> Any:
        while not self._items:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.get_nowait()
