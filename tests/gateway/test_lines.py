"""Connections over TCP, in process: how they end."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.gateway import tcp
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.wire import eventually

DESK = registry.name_of(Desk)


@pytest.fixture
async def server(board: Board) -> Any:
    found = tcp.Server(board.settings.MAX_REQUEST_BYTES)
    yield found, await found.start("127.0.0.1", 0, None)
    await found.stop()


async def test_the_connection_of_a_client_that_never_reads_is_closed(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only its session: what the server still has for it would keep the socket open for ever."""
    monkeypatch.setattr(tcp, "LINGER", 0.05)
    found, port = server

    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        await eventually(lambda: found._tasks, "the connection")
        (task,) = found._tasks
        transport = task.get_coro().cr_frame.f_locals["writer"].transport
        body = b'{"jsonrpc":"2.0","id":1,"method":"%b.large","params":["1",4000000]}' % DESK.encode()
        for number in range(12):
            one = body.replace(b'"id":1', b'"id":%d' % number)
            with contextlib.suppress(BlockingIOError):
                client.send(b"Content-Length: %d\r\n\r\n%b" % (len(one), one))
        await eventually(lambda: not found._tasks, "the end of its session")
        await eventually(lambda: transport._sock is None, "the end of its socket")
