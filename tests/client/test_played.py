"""The Python client against a server that the tests play, which does what a real one never should."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from lightmoon_django.client import Client, State, StreamReset, connect

PATIENCE = 20.0  # seconds
RETRY_AFTER = 0.7  # seconds, more than the client waits by itself
NAMES = {"actor": "chat.Room", "key": "1"}


class Played:
    """One connection at a time, which the test reads and answers."""

    def __init__(self, heartbeat: float = 25.0) -> None:
        self.heartbeat = heartbeat
        self.silent = False  # nothing is answered any more, and nothing is closed
        self.full = False  # who comes is told to come later
        self.leaving = False  # its next answer to a ping is its last word
        self.connections = 0
        self.pings: asyncio.Queue[None] = asyncio.Queue()
        self._asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._socket: ServerConnection

    async def attend(self, socket: ServerConnection) -> None:
        self.connections += 1
        self.silent = False
        self._socket = socket
        if self.full:
            await self.notify("lm.closing", {"reason": "overloaded", "retry_after": RETRY_AFTER})
            await socket.close(1013)
            return
        async for text in socket:
            message = json.loads(text)
            if self.silent:
                continue
            if message["method"] == "lm.hello":
                hello = {"protocol": 1, "session": "s", "heartbeat": self.heartbeat, "recovered": self.connections > 1}
                await self.answer(message, hello)
            elif message["method"] == "lm.ping" and self.leaving:
                self.leaving = False
                closing = {"jsonrpc": "2.0", "method": "lm.closing", "params": {"reason": "shutdown"}}
                self.at_once({"jsonrpc": "2.0", "id": message["id"], "result": None}, closing)
            elif message["method"] == "lm.ping":
                await self.answer(message, None)
                self.pings.put_nowait(None)
            else:
                self._asked.put_nowait(message)

    async def next(self) -> dict[str, Any]:
        return await self._asked.get()

    async def asked(self, method: str) -> dict[str, Any]:
        """The next request of that method."""
        while True:
            message = await self.next()
            if message["method"] == method:
                return message

    async def answer(self, message: dict[str, Any], result: Any) -> None:
        await self._socket.send(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}))

    async def joined(self, seq: int, **found: Any) -> dict[str, Any]:
        """Answer the next subscription; gives its params."""
        message = await self.asked("lm.subscribe")
        await self.answer(message, {"epoch": "a", "seq": seq, "recovered": False, "state": {}, "events": [], **found})
        params: dict[str, Any] = message["params"]
        return params

    async def tell(self, seq: int, epoch: str = "a") -> None:
        await self.notify("lm.event", said(seq, epoch))

    def at_once(self, *messages: dict[str, Any]) -> None:
        """Send them in one packet."""
        frames = [frame for one in messages for frame in self._framed(one)]
        self._socket.transport.write(b"".join(frames))

    def _framed(self, message: dict[str, Any]) -> list[bytes]:
        self._socket.protocol.send_text(json.dumps(message).encode())
        return self._socket.protocol.data_to_send()

    async def hang_up(self) -> None:
        self._socket.transport.abort()

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        await self._socket.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))


def said(seq: int, epoch: str = "a") -> dict[str, Any]:
    return {**NAMES, "epoch": epoch, "seq": seq, "name": "said", "data": {"n": seq}}


@contextlib.asynccontextmanager
async def play(heartbeat: float = 25.0, **options: Any) -> AsyncIterator[tuple[Played, Client]]:
    played = Played(heartbeat)
    given: dict[str, Any] = {"backoff": (0.05, 0.1), "websocket": {"proxy": None}, **options}
    async with asyncio.timeout(PATIENCE), serve(played.attend, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/", **given) as client:
            yield played, client


async def test_a_gap_is_filled_from_the_position_before_it() -> None:
    """B55, B56: what is missing is asked for; what came twice or of an older epoch is dropped."""
    async with play() as (server, client):
        events = client.actor("chat.Room", "1").events()
        assert "since" not in await server.joined(4)
        for seq in (5, 5, 4, 6):
            await server.tell(seq)
        await server.tell(99, epoch="Z")  # which orders before "a"
        await server.tell(9)
        params = await server.joined(9, recovered=True, state=None, events=[said(7), said(8), said(9)])
        assert params["since"] == {"epoch": "a", "seq": 6}
        await server.tell(10)
        assert [(await anext(events)).seq for _ in range(6)] == [5, 6, 7, 8, 9, 10]


async def test_a_gap_that_can_not_be_filled_is_told() -> None:
    """B55, B56: never a silent one; nor one within what is said to have been missed."""
    async with play() as (server, client):
        events = client.actor("chat.Room", "1").events()
        await server.joined(4)
        await server.tell(6)
        await server.joined(6, recovered=True, state=None, events=[said(6)])
        params = await server.joined(8, state={"topic": "B"})
        assert params["since"] == {"epoch": "a", "seq": 4}
        await server.tell(9)
        with pytest.raises(StreamReset) as found:
            await anext(events)
        assert (found.value.reason, found.value.state) == ("gap", {"topic": "B"})
        assert (await anext(events)).seq == 9


async def test_a_server_that_falls_silent_is_noticed_within_a_heartbeat() -> None:
    """B58: its connection still looks open. What was called meanwhile is sent again, and resolves once (B57)."""
    async with play(heartbeat=0.2) as (server, client):
        for _ in range(3):
            await server.pings.get()
        assert (client.state, server.connections) == (State.OPEN, 1), "while pings are answered nothing happens"
        server.silent = True
        call = asyncio.create_task(client.call("chat.Room.say", {"key": "1"}))
        again = await server.asked("chat.Room.say")
        assert server.connections == 2
        await server.answer(again, "said")
        assert await call == "said"


async def test_whoever_waits_for_a_stream_gets_it_though_another_one_gives_up() -> None:
    """B79's neighbour: nobody is left waiting, and what one has is not taken away by another's timeout."""
    async with play() as (server, client):
        room = client.actor("chat.Room", "1")
        impatient, patient = asyncio.create_task(room.subscribe()), asyncio.create_task(room.subscribe())
        asked = await server.asked("lm.subscribe")
        impatient.cancel()
        await asyncio.wait([impatient])
        await server.answer(asked, {"epoch": "a", "seq": 1, "recovered": False, "state": {"n": 1}, "events": []})
        assert await patient == {"n": 1}
        await server.notify("lm.reset", {**NAMES, "reason": "moved"})
        await client.call("lm.ping")  # it has been read
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await room.subscribe()
        await server.joined(2, state={"n": 2})
        await client.call("lm.ping")
        assert room.state == {"n": 2}, "it is still followed"
        room.unsubscribe()
        await server.asked("lm.unsubscribe")


async def test_a_subscription_that_is_left_while_somebody_waits_for_it_is_there_for_them() -> None:
    async with play() as (server, client):
        room = client.actor("chat.Room", "1")
        events = room.events()
        entering = asyncio.create_task(events.__aenter__())
        asked = await server.asked("lm.subscribe")
        room.unsubscribe()
        events.close()
        await asyncio.sleep(0.01)
        await server.answer(asked, {"epoch": "a", "seq": 1, "recovered": False, "state": {}, "events": []})
        await entering
        assert [event async for event in events] == []
        await server.asked("lm.unsubscribe")


async def test_a_login_that_has_ended_ends_no_stream_that_another_token_may_follow() -> None:
    """B60: what the server says to nobody comes with the word that it is nobody; both in one packet."""
    tokens = iter("ab")
    async with play(token=lambda: next(tokens)) as (server, client):
        events = client.actor("chat.Room", "1").events()
        await server.joined(1)
        await server.tell(2)
        assert (await anext(events)).seq == 2
        expired = {"jsonrpc": "2.0", "method": "lm.expired", "params": {"reason": "token"}}
        reset = {"jsonrpc": "2.0", "method": "lm.reset", "params": {**NAMES, "reason": "forbidden"}}
        server.at_once(expired, reset)
        assert (await server.joined(3, recovered=True, state=None, events=[said(3)]))["since"]["seq"] == 2
        assert (await anext(events)).seq == 3


async def test_a_server_that_has_too_much_to_do_is_left_alone_for_as_long_as_it_says() -> None:
    """B58: it says so before it has greeted."""
    async with play() as (server, client):
        server.full = True
        began = time.monotonic()
        await server.hang_up()
        while server.connections < 3:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began >= RETRY_AFTER
        server.full = False
        while client.state is not State.OPEN:
            await asyncio.sleep(0.01)


async def test_what_is_posted_by_who_hears_that_the_connection_is_open_comes_after_what_waited() -> None:
    """B9: in the order in which it was sent."""
    clients: list[Client] = []

    def hear(state: State) -> None:
        if state is State.OPEN and clients:
            clients[0].post("chat.Room.late", {"key": "1"})

    async with play(on_state=hear) as (server, client):
        clients.append(client)
        await server.hang_up()
        while client.state is State.OPEN:
            await asyncio.sleep(0.001)
        client.post("chat.Room.early", {"key": "1"})
        assert [(await server.next())["method"] for _ in range(2)] == ["chat.Room.early", "chat.Room.late"]


async def test_a_stream_that_is_left_before_it_is_joined_again_is_left_at_the_server() -> None:
    """Only the client knows of the gap; the server goes on sending."""
    async with play(backoff=(60.0, 60.0)) as (server, client):
        events = client.actor("chat.Room", "1").events()
        await server.joined(1)
        await server.tell(3)
        await client.call("lm.ping")
        events.close()
        await server.asked("lm.unsubscribe")


async def test_what_is_told_waits_for_a_connection_that_takes_it() -> None:
    """B42: one that closes in the moment it is there is none."""
    async with play() as (server, client):
        await server.hang_up()
        while client.state is State.OPEN:
            await asyncio.sleep(0.001)
        server.leaving = True
        await client.tell("chat.Room.say", {"key": "1"})
        await server.asked("chat.Room.say")
        assert server.connections == 3


async def test_nobody_is_said_to_have_left_while_nobody_is_connected() -> None:
    """Who isn't listed yet after a break may have come back meanwhile; their time begins anew with the next answer."""

    def listed(*users: str) -> dict[str, Any]:
        found = {user: {"info": {}, "connections": {user: {}}} for user in users}
        return {"run": "r", "rev": 1, "grace": 0.1, "count": {}, "users": found}

    async with play() as (server, client):
        room = client.actor("chat.Room", "1")
        changes = room.events("presence")
        await server.joined(1, presence=listed("1", "2"))
        await anext(changes)
        await server.hang_up()
        await server.joined(1, recovered=True, state=None, presence=listed("1"))
        await anext(changes)
        server.full = True
        await server.hang_up()
        await asyncio.sleep(0.3)
        assert sorted((room.presence or {})["users"]) == ["1", "2"]
        server.full = False
        await server.joined(1, recovered=True, state=None, presence=listed("1"))
        while "2" in (room.presence or {})["users"]:
            change = await anext(changes)
        assert list(change.data["leaves"]) == ["2"]
