"""How a request gets to another process and its answer back. Each way has an asking and an answering end."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer

from lightmoon_django.cluster.carriers.layer import LayerCarrier, channel_name
from lightmoon_django.cluster.carriers.redis import quick
from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.network import Network
from lightmoon_django.identity import Endpoint

ASKING, ANSWERING = 1, 2  # incarnations
SIZE = 100  # bytes of a request, and of its answer
MOST_CLIENTS = 100
POOL = 1000  # connections; redis-py's own limit of 100 is too few for a hundred clients and their readers

Ask = Callable[[int, bytes], Awaitable[None]]
"""What one client does: send its request, and return when the answer is there."""


def address(where: pathlib.Path) -> dict[str, Any]:
    return {"address": f"unix://{where}/redis.sock", "max_connections": POOL, "socket_timeout": None}


class Waiting:
    """Clients that wait for their answers; a request begins with its client's number."""

    def __init__(self) -> None:
        self._futures: dict[bytes, asyncio.Future[None]] = {}

    def expect(self, frame: bytes) -> asyncio.Future[None]:
        found = self._futures[frame[:8]] = asyncio.get_running_loop().create_future()
        return found

    def answered(self, frame: bytes) -> None:
        self._futures.pop(frame[:8]).set_result(None)


def frame_of(client: int) -> bytes:
    return b"%08d" % client + b"." * (SIZE - 8)


# A link, over either carrier.


async def _network(me: int, where: pathlib.Path, layered: bool, on_frame: Callable[[int, bytes], None]) -> Network:
    def lookup(incarnation: int) -> Endpoint | None:
        if layered:
            return Endpoint("", "", channel_name(incarnation))
        found = list(where.glob(f"{incarnation:016x}.*.sock"))
        return Endpoint("here", str(found[0])) if found else None

    carrier: Any
    if layered:
        layer = RedisChannelLayer(hosts=[address(where)])
        carrier = LayerCarrier(me, quick(layer, ChannelFull), full=ChannelFull)
    else:
        carrier = UnixCarrier(me, host="here", directory=where)
    network = Network(me, secrets=["bench"], carriers=[carrier], lookup=lookup, on_frame=on_frame)
    await network.start()
    _kept.append(network)
    return network


async def ask_by_link(where: pathlib.Path, layered: bool = False) -> Ask:
    waiting = Waiting()
    network = await _network(ASKING, where, layered, lambda _, frame: waiting.answered(frame))

    def ask(client: int, frame: bytes) -> asyncio.Future[None]:
        network.send(ANSWERING, frame)
        return waiting.expect(frame)

    return ask


async def answer_by_link(where: pathlib.Path, layered: bool = False) -> None:
    network = await _network(ANSWERING, where, layered, lambda sender, frame: network.send(sender, frame))


async def ask_by_layer_link(where: pathlib.Path) -> Ask:
    return await ask_by_link(where, layered=True)


async def answer_by_layer_link(where: pathlib.Path) -> None:
    await answer_by_link(where, layered=True)


# Messages of actors that the answering process has in memory, by whatever links there are.


async def ask_by_ref(where: pathlib.Path) -> Ask:
    models = _project()
    from lightmoon_django import ref

    async def ask(client: int, frame: bytes) -> None:
        await ref(models.Counter, client + 1).echo(frame.decode())

    await ask(0, b"")  # now the other process is known
    return ask


async def answer_by_ref(where: pathlib.Path) -> None:
    models = _project()
    from lightmoon_django import ref

    await asyncio.gather(*(ref(models.Counter, key).echo("") for key in range(1, MOST_CLIENTS + 1)))


def _project() -> Any:
    """Settings and database come from the environment."""
    import django

    django.setup()
    from bench.project import models
    from lightmoon_django.host import host

    host.on_this_loop()
    return models


# A bare Unix socket: frames of one length, as written.


class Bare(asyncio.Protocol):
    def __init__(self, got: Callable[[Bare, bytes], None]) -> None:
        self._got = got
        self._rest = b""
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        whole = len(data) - len(data) % SIZE
        for at in range(0, whole, SIZE):
            self._got(self, data[at : at + SIZE])
        self._rest = data[whole:]


async def ask_by_socket(where: pathlib.Path) -> Ask:
    waiting, loop = Waiting(), asyncio.get_running_loop()
    _, bare = await loop.create_unix_connection(
        lambda: Bare(lambda _, frame: waiting.answered(frame)), str(where / "bare.sock")
    )

    def ask(client: int, frame: bytes) -> asyncio.Future[None]:
        bare.transport.write(frame)
        return waiting.expect(frame)

    return ask


async def answer_by_socket(where: pathlib.Path) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(
        lambda: Bare(lambda bare, frame: bare.transport.write(frame)), str(where / "bare.sock")
    )


# channels_redis as it is used by hand: a channel for the requests, and one of its own for each client's answers.


async def ask_by_channels(where: pathlib.Path) -> Ask:
    layer = RedisChannelLayer(hosts=[address(where)], capacity=10_000)
    names: dict[int, str] = {}

    async def ask(client: int, frame: bytes) -> None:
        if client not in names:
            names[client] = await layer.new_channel()
        await layer.send("bench.requests", {"type": "ask", "data": frame, "reply": names[client]})
        await layer.receive(names[client])

    return ask


async def answer_by_channels(where: pathlib.Path) -> None:
    layer = RedisChannelLayer(hosts=[address(where)], capacity=10_000)
    sending: set[asyncio.Task[None]] = set()

    async def answer() -> None:
        while True:
            message = await layer.receive("bench.requests")
            task = asyncio.create_task(layer.send(message["reply"], {"type": "answer", "data": message["data"]}))
            sending.add(task)
            task.add_done_callback(sending.discard)

    _running.append(asyncio.create_task(answer()))


# Redis without anything: a list for requests, one for each client's answers.


async def ask_by_redis(where: pathlib.Path) -> Ask:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(f"unix://{where}/redis.sock", max_connections=POOL, socket_timeout=None)

    async def ask(number: int, frame: bytes) -> None:
        await client.lpush("requests", frame)
        await client.brpop([f"answers{number}"])

    return ask


async def answer_by_redis(where: pathlib.Path) -> None:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(f"unix://{where}/redis.sock", max_connections=POOL, socket_timeout=None)

    async def answer() -> None:
        while True:
            found = await client.brpop(["requests"])
            assert found is not None
            frame = found[1]
            await client.lpush(f"answers{int(frame[:8])}", frame)

    _running.extend(asyncio.create_task(answer()) for _ in range(8))


_running: list[asyncio.Task[None]] = []
_kept: list[Network] = []  # a server that nobody refers to is closed

WAYS: dict[str, tuple[Callable[[pathlib.Path], Awaitable[Ask]], Callable[[pathlib.Path], Awaitable[None]]]] = {
    "ask": (ask_by_ref, answer_by_ref),
    "layer ask": (ask_by_ref, answer_by_ref),
    "link": (ask_by_link, answer_by_link),
    "layer link": (ask_by_layer_link, answer_by_layer_link),
    "socket": (ask_by_socket, answer_by_socket),
    "channels": (ask_by_channels, answer_by_channels),
    "redis": (ask_by_redis, answer_by_redis),
}
