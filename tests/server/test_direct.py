"""The direct way between a session and its socket, under the Uvicorn that is installed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvicorn
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lightmoon_django.gateway import direct
from lightmoon_django.gateway.outbox import Outbox, Waiting
from tests.databases import Databases
from tests.server.harness import Client, Server, free_port


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server("uvicorn", databases.sqlite(tmp_path_factory.mktemp("direct")))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["deflate", None], ids=["compressed", "plain"])
def client(request: pytest.FixtureRequest, server: Server) -> Iterator[Client]:
    with server.client(compression=request.param) as client:
        yield client


Serve = Callable[[Any, Any], Coroutine[Any, Any, None]]


async def _connect_to(serve: Serve) -> None:
    """Serve one connection by that function of `receive` and `send`."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await serve(receive, send)

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, port=port, lifespan="off", log_level="warning"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    with contextlib.suppress(ConnectionClosed):
        async with connect(f"ws://127.0.0.1:{port}/") as client:
            await client.recv()
    server.should_exit = True
    await running


def _seen_by(wrap: bool) -> list[Any]:
    """What an application finds behind its connection, before it was accepted and after."""
    found = []

    async def serve(receive: Any, send: Any) -> None:
        async def wrapped(message: Any) -> None:
            await send(message)

        mine = wrapped if wrap else send
        found.append(direct.protocol_of(receive, mine))
        await mine({"type": "websocket.accept"})
        found.append(direct.protocol_of(receive, mine))

    asyncio.run(_connect_to(serve))
    return found


def test_the_installed_server_has_a_direct_way() -> None:
    """Without it everything works, and slower: an update of Uvicorn that changes its insides shows here."""
    before, after = _seen_by(wrap=False)
    assert before is None
    assert type(after).__name__ == "WebSocketsSansIOProtocol"


def test_whoever_stands_between_sees_every_frame() -> None:
    assert _seen_by(wrap=True) == [None, None]


class Loser:
    """An outbox's owner that keeps what was not sent."""

    def __init__(self) -> None:
        self.kept: list[Waiting] = []

    def overflowed(self) -> None:
        raise AssertionError

    drop = overflowed

    def lost(self, outbox: Outbox, frames: list[Waiting]) -> None:
        self.kept += frames


def test_a_frame_for_a_transport_that_has_just_gone_is_given_back() -> None:
    """What is written between a socket's end and the moment in which the protocol hears of it would be lost."""
    owner = Loser()

    async def serve(receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        protocol = direct.protocol_of(receive, send)
        outbox = direct.DirectOutbox(send, 1000, owner, protocol)
        protocol.transport.abort()
        outbox.send("late", True)
        assert outbox.closed

    uvloop.run(_connect_to(serve))
    assert owner.kept == [("late", True)]


def test_what_comes_after_a_call_that_waits_to_be_judged_waits_too(client: Client) -> None:
    """B2: one client's calls run in the order in which they were sent."""
    key = "plain" if client.call("server.Clicks.add", key="order") == 1 else "compressed"
    methods = ["add", "add_judged", "add", "add_judged", "add"]
    numbers = [client.send(f"server.Clicks.{method}", {"key": key}) for method in methods]
    answers = {frame["id"]: frame["result"] for frame in (client.receive() for _ in numbers)}
    assert [answers[number] for number in numbers] == [1, 2, 3, 4, 5]
    assert client.call("server.Clicks.add", key=key) == 6


def test_one_that_waited_in_the_queue_holds_back_what_comes_while_it_is_judged(client: Client) -> None:
    first = client.send("server.Clicks.add_judged", {"key": "judged first"})
    second = client.send("server.Clicks.add_judged", {"key": "judged next"})
    client.answer(first)  # the second is judged now
    third = client.send("server.Clicks.add", {"key": "judged next"})
    answers = {frame["id"]: frame["result"] for frame in (client.receive() for _ in range(2))}
    assert answers[second] < answers[third]


@pytest.mark.parametrize("size", [0, *range(86, 92), *range(65_496, 65_502), 150_000])
def test_answers_of_every_length_arrive(client: Client, size: int) -> None:
    """Around the lengths at which a frame's head grows: 126 and 65,536 bytes."""
    assert client.call("server.Clicks.long_text", key="lengths", size=size) == "x" * size


def test_a_message_may_come_in_pieces(client: Client) -> None:
    request = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "lm.ping", "params": {}})
    client.send_raw([request[:9], request[9:20], request[20:]])
    assert client.answer(7)["result"] is None


def test_a_binary_message_is_answered_in_its_turn(client: Client) -> None:
    client.send_raw(b"\x00")
    number = client.send("lm.ping", {})
    assert "binary" in client.receive()["error"]["message"]
    assert "result" in client.answer(number)
    assert client.call("server.Clicks.add", key="binary") in (1, 2)


def test_text_that_is_none_ends_the_connection(client: Client) -> None:
    client.send_raw(b"\xff\xfe", text=True)
    with pytest.raises(ConnectionClosed) as closed:
        client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007


def test_calls_sent_before_the_session_stands_are_answered(server: Server) -> None:
    """They wait in the server's queue, and what follows waits behind them."""
    with server.client(compression=None) as client:
        numbers = [client.send("server.Clicks.add", {"key": "early"}) for _ in range(200)]
        results = [client.answer(number)["result"] for number in numbers]
    assert results == sorted(results)


def test_nothing_is_taken_once_the_connection_was_told_to_end(server: Server) -> None:
    """B59: a session that was taken over by another connection takes no more calls from the first."""
    with server.client() as first, server.client() as second:
        token = first.call("lm.hello", protocol=1, client="test")["session"]
        first.call("server.Clicks.add", key="over")
        second.call("lm.hello", protocol=1, client="test", session=token)
        with pytest.raises(ConnectionClosed):
            first.call("server.Clicks.add", key="over")
        assert second.call("server.Clicks.count_now", key="over") == 1
