"""A server that the Python client connects to, and a network between them that can be cut."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from lightmoon_django.client import Client, connect
from tests.browser.proxy import Proxy
from tests.databases import Databases
from tests.server.harness import Server


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = databases.sqlite(tmp_path_factory.mktemp("client"))
    server = Server("uvicorn", {**environment, "SERVER_PERMISSION_TTL": "0.3"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def network(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


Dial = Callable[..., contextlib.AbstractAsyncContextManager[Client]]


@pytest.fixture
def dial(network: Proxy) -> Dial:
    """`connect` through that network, with quick attempts."""

    @contextlib.asynccontextmanager
    async def dial(**options: Any) -> AsyncIterator[Client]:
        given = {"backoff": (0.1, 0.3), "websocket": {"proxy": None}, **options}
        async with connect(f"ws://127.0.0.1:{network.port}/lightmoon/ws", **given) as client:
            yield client

    return dial
