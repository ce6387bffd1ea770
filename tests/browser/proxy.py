"""A TCP proxy that tests can cut: what a network does to clients."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset, as from a network that is gone


class Proxy:
    """Carries connections to a port of this machine, in a thread of its own. A context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._links: set[asyncio.StreamWriter] = set()
        self._away = False
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Break all connections, and every new one until `mend`."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    def mend(self) -> None:
        self._away = False

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        await asyncio.sleep(0.1)  # a connection that is being accepted would be left open
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was reset is closed in the loop's next passes

    async def _cut(self) -> None:
        self._away = True
        for link in tuple(self._links):
            _reset(link)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links = {writer}
        try:
            there, to_there = await asyncio.open_connection("127.0.0.1", self._target)
            links.add(to_there)
            self._links |= links
            if not self._away:
                await asyncio.gather(_pump(reader, to_there), _pump(there, writer))
        except OSError:
            pass
        finally:
            self._links -= links
            for link in links:
                _reset(link)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None and not writer.transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
