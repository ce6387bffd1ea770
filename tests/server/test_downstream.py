"""Event streams and polls through a real server: no thread each, and nothing that holds its stop."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.databases import Databases
from tests.server.harness import SERVERS, Server

CROWD = 1000  # of each kind


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Server]:
    server = Server(request.param, databases.sqlite(tmp_path))
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Link:
    """One HTTP connection of a client that reads what comes."""

    opened: ClassVar[list[Link]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.opened.append(self)

    @classmethod
    async def open(cls, port: int) -> Link:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def ask(self, path: str, session: str = "", body: Any = None, cursor: str = "") -> None:
        """Send a request: a GET, or the POST of a body."""
        data = b"" if body is None else json.dumps(body).encode()
        head = [f"{'GET' if body is None else 'POST'} /lightmoon/{path} HTTP/1.1", "Host: 127.0.0.1"]
        if body is not None:
            head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        if session:
            head.append(f"LightMoon-Session: {session}")
        if cursor:
            head.append(f"Last-Event-ID: {cursor}")
        self.writer.write("\r\n".join([*head, "", ""]).encode() + data)

    async def head(self) -> str:
        return (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)).decode().lower()

    async def json(self) -> Any:
        """The body of a whole response."""
        head = await self.head()
        assert head.startswith("http/1.1 200"), head
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
        return json.loads(await asyncio.wait_for(self.reader.readexactly(length), 30))

    async def until(self, text: str) -> None:
        """Read a stream until that comes."""
        await asyncio.wait_for(self.reader.readuntil(text.encode()), 30)

    async def call(self, method: str, session: str = "", **params: Any) -> Any:
        self.ask("rpc", session, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return (await self.json())["result"]

    def close(self) -> None:
        self.writer.transport.abort()


@pytest.fixture(autouse=True)
async def closed_links() -> AsyncIterator[None]:
    """No connection outlives its test."""
    yield
    for link in Link.opened:
        link.close()
    Link.opened.clear()
    await asyncio.sleep(0)


async def begin(link: Link) -> str:
    """A session that follows an actor."""
    token: str = (await link.call("lm.hello", protocol=1))["session"]
    await link.call("lm.subscribe", token, actor="server.Clicks", key="crowd")
    return token


def threads(server: Server) -> int:
    assert server._process is not None
    status = Path(f"/proc/{server._process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))


async def test_a_thousand_parked_requests_of_each_kind_cost_no_thread(server: Server) -> None:
    """B80: and all of them hear of an event."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    caller = await Link.open(server.port)
    await caller.call("server.Clicks.add", key="crowd")
    before = threads(server)
    links = []
    for path in ("sse", "poll"):
        for _ in range(CROWD):
            token = await begin(caller)
            link = await Link.open(server.port)
            link.ask(f"{path}?session={token}")
            links.append(link)
    for link in links[:CROWD]:
        assert "text/event-stream" in await link.head()
        await link.until(":\n\n")
    assert threads(server) - before <= 2
    await caller.call("server.Clicks.burst", key="crowd", events=1)
    for link in links:
        await link.until('"name":"tick"')


async def test_an_event_stream_that_breaks_goes_on_after_its_last_event(server: Server) -> None:
    """B56."""
    caller, stream = await Link.open(server.port), await Link.open(server.port)
    token = await begin(caller)
    stream.ask(f"sse?session={token}")
    await caller.call("server.Clicks.burst", token, key="crowd", events=3)
    await stream.until('"number":1}}}\n\n')
    stream.close()
    await caller.call("server.Clicks.burst", token, key="crowd", events=1)
    again = await Link.open(server.port)
    again.ask(f"sse?session={token}", cursor="2")
    await again.until("id: 3\n")
    await again.until('"number":2}}}\n\nid: 4\n')
    await again.until('"number":0}}}\n\n')


async def test_clients_hear_that_a_server_is_told_to_stop(server: Server) -> None:
    """B58: before their connection is closed, so that they wait a little and come back."""
    caller, stream = await Link.open(server.port), await Link.open(server.port)
    stream.ask(f"sse?session={await begin(caller)}")
    await stream.until(":\n\n")
    with server.client() as client:
        client.call("lm.ping")
        stopping = asyncio.create_task(asyncio.to_thread(server.end, signal.SIGTERM))
        frame = await asyncio.to_thread(client.receive)
        assert (frame["method"], frame["params"]["reason"]) == ("lm.closing", "shutdown")
        await stream.until('"method":"lm.closing"')
        await stopping


async def test_a_terminated_server_does_not_wait_for_parked_requests(server: Server) -> None:
    """B42."""
    caller = await Link.open(server.port)
    for path in ("sse", "poll"):
        link = await Link.open(server.port)
        link.ask(f"{path}?session={await begin(caller)}")
    started = time.monotonic()
    await asyncio.to_thread(server.end, signal.SIGTERM)
    assert time.monotonic() - started < 10
