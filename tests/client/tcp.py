"""The Python client's frames over TCP, as `manage.py lightmoon_tcp` frames them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

LIMIT = 1_000_000  # bytes of a header's line, far above any


class TcpSocket:
    """What a connection of the client needs of its WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.transport = writer.transport

    async def send(self, text: str) -> None:
        body = text.encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await self._writer.drain()

    async def recv(self) -> str:
        """Raises `ConnectionError` at the end."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = int(head.removeprefix(b"Content-Length: "))
            return (await self._reader.readexactly(length)).decode()
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("The connection has ended.") from error

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            yield await self.recv()

    async def close(self, code: int) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def connect(url: str, **_: Any) -> TcpSocket:
    """In place of `websockets.connect`, for `tcp://host:port`."""
    host, _, port = url.removeprefix("tcp://").partition(":")
    return TcpSocket(*await asyncio.open_connection(host, int(port), limit=LIMIT))
