"""The TCP door: JSON-RPC with `Content-Length` headers, as editors' language servers speak it.

A connection is served as a WebSocket without an Origin is: by the same code, with the same sessions and limits. What is
here turns one framing into the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

from lightmoon_django.errors import LightMoonError, ParseError, TooLarge
from lightmoon_django.gateway import frames, websocket

HEAD = 16_384  # bytes of headers
PIECE = 65_536  # bytes at a time of a body that is too large to be read
LINGER = 5.0  # seconds that a closed connection may take to send what it still has
ABNORMAL = 1006  # what a WebSocket reports of a connection that just ended: the session waits
CHARSETS = ("utf-8", "utf8")


class Line:
    """One connection, as ASGI shows a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        """`limit` is what the body of a message may have, in bytes."""
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._connected = False
        self.transport = writer.transport  # for `transport.abort`

    @property
    def scope(self) -> dict[str, Any]:
        """What permission classes see of it as a request."""
        encrypted = self._writer.get_extra_info("ssl_object") is not None
        return {
            "type": "websocket",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "scheme": "wss" if encrypted else "ws",
            "client": _address(self._writer, "peername"),
            "server": _address(self._writer, "sockname"),
        }

    async def receive(self) -> dict[str, Any]:
        """The next event. Answers what is no message by itself, as far as the next message can still be found."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        try:
            while True:
                try:
                    return {"type": "websocket.receive", "text": await self._message()}
                except _Unreadable as unreadable:
                    await self._answer(unreadable.error)
                    if unreadable.fatal:
                        break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        return {"type": "websocket.disconnect", "code": ABNORMAL}

    async def send(self, message: Any) -> None:
        """Suspends while the other side reads too slowly. Raises `OSError` when it is gone."""
        if message["type"] == "websocket.close":
            self._writer.close()
        elif message["type"] == "websocket.send":
            if self._writer.is_closing():
                raise ConnectionResetError("The connection is closed.")
            body = message["text"].encode()
            self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            await self._writer.drain()

    async def _message(self) -> str:
        length = _length((await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
        if length > self._limit:
            await self._skip(length)
            raise _Unreadable(TooLarge(f"A request may have {self._limit} bytes."))
        body = await self._reader.readexactly(length)
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise _Unreadable(ParseError(f"Not UTF-8: {error}")) from None

    async def _skip(self, length: int) -> None:
        while length > 0:
            length -= len(await self._reader.readexactly(min(length, PIECE)))

    async def _answer(self, error: LightMoonError) -> None:
        await self.send({"type": "websocket.send", "text": frames.failure(frames.NULL, error)})


class _Unreadable(Exception):
    """What came is no message. `fatal`: nor can be found where the next one begins."""

    def __init__(self, error: LightMoonError, *, fatal: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.fatal = fatal


def _length(head: str) -> int:
    """Of the body, by its headers."""
    headers = {}
    for line in head.split("\r\n")[:-2]:
        name, colon, value = line.partition(":")
        if not colon:
            raise _Unreadable(ParseError(f"Not a header: {line[:100]!r}."), fatal=True)
        headers[name.strip().lower()] = value.strip()
    text = headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise _Unreadable(ParseError("A message begins with Content-Length: and its bytes."), fatal=True)
    charset = headers.get("content-type", "").lower().partition("charset=")[2].strip('"')
    if charset and charset not in CHARSETS:
        raise _Unreadable(ParseError(f"The charset is utf-8, not {charset[:30]}."), fatal=True)
    return int(text)


def _address(writer: asyncio.StreamWriter, name: str) -> tuple[str, int] | None:
    found = writer.get_extra_info(name)
    return (str(found[0]), int(found[1])) if found else None


class Server:
    """Listens, and serves each connection in a task of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Answers the port. Raises `OSError` when it can't have that one."""
        self._server = await asyncio.start_server(self._connected, host, port, ssl=tls, limit=HEAD)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """Take no more, and end those that there are."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = Line(reader, writer, self._limit)
        try:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            await websocket.serve(line.scope, line.receive, line.send)
        except asyncio.CancelledError:
            pass  # by `stop`; nobody waits for this task
        except Exception as error:
            frames.internal(error)
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(OSError):
                writer.close()
            if writer.transport.get_write_buffer_size():  # to one that doesn't read it would never be closed
                asyncio.get_running_loop().call_later(LINGER, writer.transport.abort)
