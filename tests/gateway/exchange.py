"""HTTP requests to the ASGI application, in process: a POST, a poll, an event stream."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from lightmoon_django.asgi import lightmoon
from tests.gateway.wire import HOST, PATIENCE, eventually, nothing

JSON = (b"content-type", b"application/json")
SESSION = b"lightmoon-session"


class Response(SimpleNamespace):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Exchange:
    """A request that is under way."""

    def __init__(
        self,
        body: Any,
        *headers: tuple[bytes, bytes],
        method: str = "POST",
        chunk: int = 1 << 16,
        path: str = "rpc",
        **query: Any,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = [HOST, *headers]
        if method == "POST" and not any(name == b"content-type" for name, _ in headers):
            given.append(JSON)
        self.scope = {
            "type": "http",
            "path": f"/lightmoon/{path}",
            "method": method,
            "scheme": "http",
            "query_string": urlencode({name: value for name, value in query.items() if value is not None}).encode(),
            "headers": given,
            "client": ("192.0.2.1", 4000),
            "server": ("example.com", 80),
        }
        parts = [data[start : start + chunk] for start in range(0, len(data), chunk)] or [b""]
        self.inbox: asyncio.Queue[Any] = asyncio.Queue()
        for number, part in enumerate(parts, 1):
            self.inbox.put_nowait({"type": "http.request", "body": part, "more_body": number < len(parts)})
        self.sent: list[dict[str, Any]] = []
        self.flowing = asyncio.Event()  # clear it, and the socket takes no more
        self.flowing.set()
        self.task = asyncio.get_running_loop().create_task(lightmoon(nothing)(self.scope, self.inbox.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        await self.flowing.wait()
        self.sent.append(message)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def response(self) -> Response:
        return Response(status=self.status, headers=self.headers, body=self.body)

    async def done(self) -> Response:
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)
        return self.response

    async def disconnect(self) -> None:
        """The client goes, and the application has noticed."""
        self.inbox.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)


async def post(body: Any, *headers: tuple[bytes, bytes], **more: Any) -> Response:
    """Send a request; `body` is bytes, or what becomes JSON."""
    return await Exchange(body, *headers, **more).done()


async def poll(token: str | None, cursor: Any = None, *headers: tuple[bytes, bytes]) -> Response:
    return await Exchange(b"", *headers, method="GET", path="poll", session=token, cursor=cursor).done()


def request(method: str, params: Any = None, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or [], **more}


async def hello(*headers: tuple[bytes, bytes], **params: Any) -> Any:
    """The result of `lm.hello`."""
    return (await post(request("lm.hello", {"protocol": 1, **params}), *headers)).json["result"]


async def call(token: str, method: str, params: Any = None, *headers: tuple[bytes, bytes], id: Any = 1) -> Any:
    """The result of a call of a session."""
    body = request(method, params, id=id)
    answer = (await post(body, (SESSION, token.encode()), *headers)).json
    assert "error" not in answer, answer
    return answer["result"]


class Events(Exchange):
    """An event stream, read as it comes."""

    def __init__(self, token: str | None, *headers: tuple[bytes, bytes], last: Any = None, **more: Any) -> None:
        if last is not None:
            headers = (*headers, (b"last-event-id", str(last).encode()))
        super().__init__(b"", *headers, method="GET", path="sse", session=token, **more)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The id and the message of each event."""
        blocks = self.body.decode().split("\n\n")
        fields = [dict(line.split(": ", 1) for line in block.splitlines() if line != ":") for block in blocks]
        return [(found["id"], json.loads(found["data"])) for found in fields if "data" in found]

    async def opened(self) -> Events:
        await eventually(lambda: len(self.sent) > 1 or self.task.done(), "the stream to open")
        return self

    async def until(self, count: int) -> list[tuple[str, Any]]:
        await eventually(lambda: len(self.events) >= count, f"{count} events; there are {self.events}")
        return self.events
