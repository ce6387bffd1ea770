"""One WebSocket from its handshake to its end."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from lightmoon_django import codec
from lightmoon_django.client import refusals
from lightmoon_django.errors import Forbidden, Unavailable

try:
    import websockets
    from websockets.asyncio import client as websocket_client
except ImportError as error:  # pragma: no cover
    raise ImportError("The Python client needs websockets: pip install 'lightmoon-django[client]'") from error

logger = logging.getLogger("lightmoon.client")

PROTOCOL = 1
CLIENT = "lightmoon-python/0.1"
HANDSHAKE = 10.0  # seconds until the server must have greeted
FLUSH = 1.0  # seconds for what is still to be sent at the end
PONG = 10.0  # seconds at most until a ping must be answered, by anything
HELLO_ID, PING_ID, RENEWAL_ID = 0, 1, 2  # numbers: only calls have strings, which the server remembers
GOODBYE = 1000  # tells the server that nobody comes back
SEE_YOU = 4000  # any other code
WATERMARK = 256  # frames; who sends without waiting for answers pauses here

LOST = (OSError, TimeoutError, websockets.WebSocketException)
"""What a connection fails with when the network or the server is away."""

Token = str | Callable[[], str | Awaitable[str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Whom to connect to, and what to say first."""

    url: str
    token: Token | None = None
    origin: str | None = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    schema: str | None = None
    ssl: Any = None
    websocket: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Connection:
    """Frames are sent in the order of `send`."""

    def __init__(self, socket: websocket_client.ClientConnection, hello: Mapping[str, Any]) -> None:
        self.hello = hello
        self.request_limit: int | None = (hello.get("limits") or {}).get("request_bytes")
        self._socket = socket
        self._queue: collections.deque[str] = collections.deque()
        self._filled, self._low, self._empty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._low.set()
        self._heartbeat = float(hello.get("heartbeat") or 25.0)
        self._quiet = True  # nothing came since the last ping
        self._aborted = False
        self._timer = asyncio.get_running_loop().call_later(self._heartbeat, self._ping)
        self._writer = asyncio.create_task(self._write())

    def send(self, frame: str) -> None:
        """Send it after all earlier ones. Nothing happens when the connection is gone; the reader notices."""
        self._queue.append(frame)
        self._filled.set()
        self._empty.clear()
        if len(self._queue) > WATERMARK:
            self._low.clear()

    def renew(self, where: Where, token: str | None) -> None:
        """Show who one is by another token, before the last one ends."""
        self.send(_hello(RENEWAL_ID, where, None, token))

    async def room(self) -> None:
        """Until the server takes more."""
        await self._low.wait()

    async def read(self) -> AsyncIterator[Any]:
        """Every message, until the connection is over. Raises `ParseError` for what is not our server's."""
        with contextlib.suppress(*LOST):
            async for text in self._socket:
                self._quiet = False
                message = codec.decode_any(text)
                if not (isinstance(message, dict) and message.get("id", "") == PING_ID):
                    yield message
                if self._aborted:  # what came with it is the next connection's matter
                    return

    def abort(self) -> None:
        """End it without waiting for the other side, which may be gone. The session goes on without it."""
        self._aborted = True
        self._stop()
        self._socket.transport.abort()

    async def close(self, *, for_good: bool) -> None:
        """Send what waits, say goodbye, and wait for the other side. `for_good`: the session ends too."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH):
                await self._empty.wait()
        self._stop()
        with contextlib.suppress(*LOST):
            await self._socket.close(GOODBYE if for_good else SEE_YOU)

    def _stop(self) -> None:
        self._timer.cancel()
        self._writer.cancel()
        self._low.set()

    async def _write(self) -> None:
        with contextlib.suppress(*LOST):
            while True:
                while self._queue:
                    await self._socket.send(self._queue.popleft())
                self._low.set()
                self._empty.set()
                self._filled.clear()
                await self._filled.wait()
        self._low.set()
        self._empty.set()

    def _ping(self) -> None:
        self._quiet = True
        self.send(f'{{"jsonrpc":"2.0","id":{PING_ID},"method":"lm.ping"}}')
        self._timer = asyncio.get_running_loop().call_later(min(PONG, self._heartbeat / 2), self._check)

    def _check(self) -> None:
        if self._quiet:
            self.abort()
            return
        patience = min(PONG, self._heartbeat / 2)
        self._timer = asyncio.get_running_loop().call_later(self._heartbeat - patience, self._ping)


async def dial(where: Where, session: str | None) -> Connection:
    """A connection that the server has greeted. Raises one of `LOST`, or the `LightMoonError` that the server says."""
    async with asyncio.timeout(HANDSHAKE):
        token = await token_of(where)
        options = {"compression": None, "max_size": None, "ping_interval": None, "close_timeout": 2, **where.websocket}
        if where.ssl is not None:
            options["ssl"] = where.ssl
        try:
            socket = await websocket_client.connect(
                where.url,
                origin=where.origin,  # type: ignore[arg-type]
                additional_headers=where.headers,
                open_timeout=None,
                **options,
            )
        except websockets.InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise Forbidden(f"The server refused the connection ({error.response.status_code}).") from error
            raise
        try:
            return Connection(socket, await _greet(socket, where, session, token))
        except BaseException:
            socket.transport.abort()
            raise


async def token_of(where: Where) -> str | None:
    """What proves who one is, as it is now. Raises `Unavailable` when the program's function has no answer."""
    given = where.token
    if given is None or isinstance(given, str):
        return given
    try:
        found = given()
        return await found if inspect.isawaitable(found) else found
    except LOST:
        raise
    except Exception as error:
        logger.exception("There is no token.", extra={"action": "token_failed"})
        raise Unavailable(f"There is no token: {type(error).__name__}: {error}") from error


def _hello(id: int, where: Where, session: str | None, token: str | None) -> str:
    params = {"protocol": PROTOCOL, "client": CLIENT, "schema": where.schema, "token": token, "session": session}
    given = {name: value for name, value in params.items() if value is not None}
    return codec.encode_json({"jsonrpc": "2.0", "id": id, "method": "lm.hello", "params": given}).decode()


async def _greet(
    socket: websocket_client.ClientConnection, where: Where, session: str | None, token: str | None
) -> dict[str, Any]:
    with contextlib.suppress(websockets.ConnectionClosed):  # what the server said before that is read all the same
        await socket.send(_hello(HELLO_ID, where, session, token))
    while True:
        message = codec.decode_any(await socket.recv())
        if isinstance(message, dict) and message.get("method") == "lm.closing":
            raise Unavailable("The server lets nobody in now.", retry_after=message["params"].get("retry_after"))
        if isinstance(message, dict) and message.get("id", "") == HELLO_ID and "method" not in message:
            if "error" in message:
                raise refusals.error_of(message["error"])
            result: dict[str, Any] = message["result"]
            return result
