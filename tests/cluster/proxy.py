"""A way between a node and a server that can be cut: nothing is refused and nothing is reset, it just stops.

That is how a network fails: whoever has sent something waits. When it heals, TCP sends what had been on its way, so it
arrives late; or a router in between has forgotten the connections of before, and they stay silent for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any


class Proxy:
    """From a TCP port of this host to a Unix socket. In a thread of its own; everything may be called from any."""

    def __init__(self, target: str, host: str = "127.0.0.1") -> None:
        self._target = target
        self.host = host
        self._passing = asyncio.Event()
        self._passing.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, host, 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Nothing passes from now on. Connections stay open, and new ones are made but lead nowhere."""
        self._do(self._cut())

    def heal(self, *, forget: bool = False) -> None:
        """Let pass what is new and what was held. With `forget`, the connections of before stay dead for ever."""
        self._do(self._heal(forget))

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _cut(self) -> None:
        self._passing.clear()

    async def _heal(self, forget: bool) -> None:
        if forget:  # they go on waiting for what never comes
            self._passing = asyncio.Event()
        self._passing.set()

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, passing = asyncio.current_task(), self._passing
        assert task is not None
        self._connections.add(task)
        try:
            await passing.wait()
            there = await asyncio.open_unix_connection(self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, there[1], passing))
                group.create_task(_pump(there[0], writer, passing))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            self._connections.discard(task)
            writer.close()


def environment(database: Proxy | None = None, layer: Proxy | None = None) -> dict[str, str]:
    """For a process that is to go by these ways."""
    found = {}
    if database is not None:
        found["SERVER_PG"] = f"postgresql://postgres@{database.host}:{database.port}/postgres"
    if layer is not None:
        found["LAYER_REDIS"] = f"redis://{layer.host}:{layer.port}"
    return found


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
    with contextlib.closing(writer):
        while data := await reader.read(65536):
            await passing.wait()
            writer.write(data)
            await writer.drain()
        await passing.wait()  # the end of a connection doesn't pass either
