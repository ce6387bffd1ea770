"""A client that drives the ASGI application in process, with real frames and a socket that can be blocked."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from lightmoon_django.asgi import lightmoon

PATIENCE = 5.0  # seconds until something that never comes fails its test
HOST = (b"host", b"example.com")
OWN = (b"origin", b"http://example.com")


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The project's own application, which these tests never reach."""
    raise AssertionError(f"The request was passed on: {scope['path']}")


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Wait until `condition()` holds and return it. `what` should say what is missing."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while not (found := condition()):
        if asyncio.get_running_loop().time() > until:
            pytest.fail(f"Not within {PATIENCE} s: {what}")
        await asyncio.sleep(0)
    return found


class Wire:
    """One WebSocket. `sent` is everything that the application sent, `frames` its messages, decoded."""

    def __init__(self, app: Any = None, headers: tuple[Any, ...] = (OWN,), **scope: Any) -> None:
        self.app = app or lightmoon(nothing)
        self.scope = {
            "type": "websocket",
            "path": "/lightmoon/ws",
            "query_string": b"",
            "scheme": "ws",
            "headers": [HOST, *headers],
            "client": ("192.0.2.1", 4000),
            "server": ("example.com", 80),
            "subprotocols": [],
            **scope,
        }
        self.sent: list[dict[str, Any]] = []
        self.frames: list[Any] = []
        self.flowing = asyncio.Event()  # clear it, and the socket takes no more
        self.flowing.set()
        self.gone = False  # sending raises
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._ids = itertools.count(1)
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Wire:
        self.task = asyncio.get_running_loop().create_task(self.app(self.scope, self._inbox.get, self._send))
        self._inbox.put_nowait({"type": "websocket.connect"})
        await eventually(lambda: self.sent or self.task.done(), "an answer to the handshake")
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.disconnect()

    async def disconnect(self, code: int = 1001) -> None:
        """The client goes, and the application has noticed."""
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)

    async def _send(self, message: dict[str, Any]) -> None:
        await self.flowing.wait()
        if self.gone:
            raise OSError("The client has left.")
        self.sent.append(message)
        if message["type"] == "websocket.send":
            self.frames.append(json.loads(message["text"]))

    @property
    def accepted(self) -> bool:
        return bool(self.sent) and self.sent[0]["type"] == "websocket.accept"

    @property
    def closed(self) -> int | None:
        """The code that the application closed with."""
        return next((message["code"] for message in self.sent if message["type"] == "websocket.close"), None)

    def text(self, frame: str) -> None:
        """Send a frame as it is."""
        self._inbox.put_nowait({"type": "websocket.receive", "text": frame})

    def binary(self, frame: bytes) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "bytes": frame})

    def send(self, message: Any) -> None:
        self.text(json.dumps(message))

    def notify(self, method: str, params: Any = None) -> None:
        self.send({"jsonrpc": "2.0", "method": method, **({} if params is None else {"params": params})})

    def ask(self, method: str, params: Any = None, id: Any = None) -> Any:
        """Send a request and return its id."""
        id = next(self._ids) if id is None else id
        self.send({"jsonrpc": "2.0", "id": id, "method": method, **({} if params is None else {"params": params})})
        return id

    async def answer(self, id: Any) -> Any:
        """The first response with that id that has not been taken yet."""

        def found() -> Any:
            return next((one for one in self.frames if isinstance(one, dict) and one.get("id", self) == id), None)

        frame = await eventually(found, f"an answer to {id!r}; there is {self.frames}")
        self.frames.remove(frame)
        return frame

    async def call(self, method: str, params: Any = None, id: Any = None) -> Any:
        """The result. Fails on an error."""
        frame = await self.answer(self.ask(method, params, id))
        assert "error" not in frame, frame
        return frame["result"]

    async def error(self, method: str, params: Any = None, id: Any = None) -> Any:
        """The error object. Fails on a result."""
        frame = await self.answer(self.ask(method, params, id))
        assert "result" not in frame, frame
        return frame["error"]

    async def next(self) -> Any:
        """The next frame, whatever it is."""
        await eventually(lambda: self.frames, "any frame")
        return self.frames.pop(0)

    async def notified(self, method: str) -> Any:
        """The params of the next notification of that method."""

        def found() -> Any:
            return next((one for one in self.frames if isinstance(one, dict) and one.get("method") == method), None)

        frame = await eventually(found, f"{method}; there is {self.frames}")
        self.frames.remove(frame)
        return frame["params"]
