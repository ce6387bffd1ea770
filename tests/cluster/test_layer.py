"""Channel layers at their worst (field notes; B44: Redis restarted or flushed)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.exceptions import ConnectionError as RedisConnectionError

from lightmoon_django.cluster.carriers.layer import ALL_AT_ONCE, AT_ONCE, LayerCarrier, channel_name
from lightmoon_django.cluster.carriers.redis import QuickRedis, quick
from lightmoon_django.cluster.inbox import Inbox
from lightmoon_django.identity import Endpoint, new_incarnation
from tests.cluster.proxy import Proxy
from tests.cluster.world import Node, World, numbered, over_memory, over_redis, until
from tests.services import Redis

BOTH = pytest.mark.parametrize("plain", [False, True], ids=["quick", "plain"])


@pytest_asyncio.fixture
async def stopping() -> AsyncIterator[Callable[[World], World]]:
    """Stops worlds at the end."""
    worlds: list[World] = []

    def later(world: World) -> World:
        worlds.append(world)
        return world

    yield later
    for world in worlds:
        await world.stop()


class Stream:
    """Numbered frames both ways, a few every four milliseconds, while something happens to what carries them."""

    def __init__(self, left: Node, right: Node) -> None:
        self._ways = [(left, right), (right, left)]
        self.sent: list[bytes] = []
        self._task = asyncio.create_task(self._run())
        self._ending = False

    async def _run(self) -> None:
        while not self._ending:
            for _ in range(5):
                frame = b"%d" % len(self.sent)
                self.sent.append(frame)
                for sender, receiver in self._ways:
                    sender.network.send(receiver.incarnation, frame)
            await asyncio.sleep(0.004)

    async def flows(self) -> None:
        """Wait until what is sent from now on arrives on either side."""
        goal = len(self.sent) + 50
        for _, receiver in self._ways:
            await until(
                lambda: len(receiver.received) >= goal,  # noqa: B023
                lambda: f"{len(receiver.received)} of {goal} arrived; {receiver.network.stats()}",  # noqa: B023
            )

    async def end(self) -> None:
        """All of it has arrived, each frame once and in order."""
        self._ending = True
        await self._task
        for _, receiver in self._ways:
            await receiver.expect(self.sent)


@BOTH
async def test_a_flushed_redis_loses_nothing(own_redis: Redis, stopping: Callable[[World], World], plain: bool) -> None:
    """B44: the quick way hardly leaves a batch where a flush could hit it."""
    world = stopping(over_redis(own_redis, plain=plain))
    left, right = await world.node(), await world.node()
    stream = Stream(left, right)
    for _ in range(3):
        await stream.flows()
        before = left.network.traffic.resent
        for _ in range(100):
            own_redis.flush()
            await asyncio.sleep(0.003)
        if plain:
            await until(
                lambda: own_redis.flush() or left.network.traffic.resent > before,  # noqa: B023
                lambda: "No flush ever hit a batch on its way.",
            )
    await stream.flows()
    await stream.end()


@BOTH
async def test_a_restarted_redis_loses_nothing(
    own_redis: Redis, stopping: Callable[[World], World], plain: bool
) -> None:
    """B44."""
    world = stopping(over_redis(own_redis, plain=plain))
    stream = Stream(await world.node(), await world.node())
    for _ in range(2):
        await stream.flows()
        own_redis.kill()
        await asyncio.sleep(0.1)  # an outage has a length
        await asyncio.to_thread(own_redis.start)
    await stream.flows()
    await stream.end()


@BOTH
async def test_a_socket_that_times_out_before_a_pop_is_survived(
    shared_redis: Redis, stopping: Callable[[World], World], plain: bool
) -> None:
    """redis-py 8 gives a socket 5 s, as long as channels_redis blocks. Here it is less, so as not to wait for it.

    The quick way keeps its own time.
    """
    url = {"address": shared_redis.url, "socket_timeout": 0.2}
    world = stopping(over_redis(shared_redis, plain=plain, hosts=[url]))
    left, right = await world.node(), await world.node()
    for number in range(5):
        left.network.send(right.incarnation, b"%d" % number)
        await right.expect(numbered(b"", number + 1))
        inbox = right.network._carriers[0]._inbox  # type: ignore[attr-defined]
        before = inbox.failures
        if plain:
            await until(lambda: inbox.failures > before, lambda: "The pop did not time out.")  # noqa: B023
        else:
            await asyncio.sleep(0.3)
            assert inbox.failures == 0


@pytest.mark.parametrize("kind", ["quick", "plain", "memory"])
async def test_a_full_channel_is_back_pressure_and_no_loss(
    kind: str, shared_redis: Redis, stopping: Callable[[World], World]
) -> None:
    world = stopping(
        over_memory(capacity=10) if kind == "memory" else over_redis(shared_redis, plain=kind == "plain", capacity=10)
    )
    left, absent = await world.node(), new_incarnation()
    world.carriers(absent)  # it can be found, and does not read
    layer: Any = left.network._carriers[0].layer  # type: ignore[attr-defined]
    with pytest.raises(ChannelFull):  # noqa: PT012
        for _ in range(11):
            await layer.send(channel_name(absent), {"type": "somebody else's"})
    frames = numbered(b"", 300)
    for frame in frames:
        left.network.send(absent, frame)
        await asyncio.sleep(0)
    carrier = left.network._carriers[0]
    tries, carry = list[str](), carrier.carry  # type: ignore[attr-defined]

    async def counted(channel: str, packet: bytes) -> bool:
        tries.append(channel)
        return bool(await carry(channel, packet))

    carrier.carry = counted  # type: ignore[attr-defined]
    await until(lambda: len(tries) > 5, lambda: f"{len(tries)} tries")
    assert left.network.traffic.batches_sent <= AT_ONCE, "More was given to a channel that is full."
    late = await world.node(absent)
    await late.expect(frames)


class Stuck(InMemoryChannelLayer):
    """Sending never ends."""

    sending = 0

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        self.sending += 1
        await asyncio.Event().wait()


async def test_a_layer_that_hangs_holds_two_packets_per_node_and_the_link_the_rest() -> None:
    layer, told = Stuck(), list[bool]()
    carrier = LayerCarrier(1, layer, full=ChannelFull)
    path = carrier.open(Endpoint("", "", channel_name(2)), told.append)
    assert path is not None
    for _ in range(AT_ONCE):
        assert path.ready
        path.send(b"packet")
    assert not path.ready
    await until(lambda: layer.sending == AT_ONCE, lambda: str(layer.sending))
    path.close()
    for task in carrier.sending:
        task.cancel()
    await carrier.stop()
    assert not told


async def test_a_channel_has_one_reader() -> None:
    """Field notes: two readers of one channel each get a part, and some twice."""
    inbox = Inbox(InMemoryChannelLayer(), "channel", {})
    inbox.start()
    with pytest.raises(RuntimeError, match="reader"):
        inbox.start()
    await inbox.stop()


async def test_whatever_else_comes_into_the_channel_is_passed_over(stopping: Callable[[World], World]) -> None:
    world = stopping(over_memory())
    left, right = await world.node(), await world.node()
    layer: Any = left.network._carriers[0].layer  # type: ignore[attr-defined]
    for message in ({}, {"type": "lightmoon.batch"}, {"type": "lightmoon.batch", "data": "text"}, {"type": 7}):
        await layer.send(channel_name(right.incarnation), message)
    left.network.send(right.incarnation, b"hello")
    await right.expect([b"hello"])
    assert right.network.traffic.dropped["malformed"] == 2


def test_names_of_channels_are_short_ascii() -> None:
    name = channel_name(2**63 - 1)
    assert InMemoryChannelLayer().require_valid_channel_name(name)
    assert name.isascii()
    assert len(name) < 100


async def test_the_quick_way_leads_to_the_same_channels(shared_redis: Redis) -> None:
    """Nodes may do it either way, and `group_send` reaches both."""
    layer, channel = RedisChannelLayer(hosts=[shared_redis.url], capacity=3), f"test.{new_incarnation()}"
    short = quick(layer, ChannelFull)
    assert isinstance(short, QuickRedis)
    message = {"type": "x", "data": b"\x00\xff"}
    await layer.send(channel, message)
    assert await short.receive(channel) == message
    await short.send(channel, message)
    assert await layer.receive(channel) == message
    await layer.group_add("group", channel)
    await layer.group_send("group", message)
    assert await short.receive(channel) == message
    for _ in range(3):
        await short.send(channel, message)
    with pytest.raises(ChannelFull):
        await short.send(channel, message)
    assert [await short.receive(channel) for _ in range(3)] == [message] * 3
    await layer.close_pools()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_the_quick_way_reads_either_protocol_of_redis(shared_redis: Redis, protocol: int) -> None:
    host = {"address": shared_redis.url, "protocol": protocol}
    layer, channel = RedisChannelLayer(hosts=[host]), f"test.{new_incarnation()}"
    short: Any = quick(layer, ChannelFull)
    messages = [{"type": "x", "data": number} for number in range(3)]
    for message in messages:
        await short.send(channel, message)
    assert [await short.receive(channel) for _ in messages] == messages
    waiting = asyncio.ensure_future(short.receive(channel))
    await asyncio.sleep(0.05)
    await short.send(channel, messages[0])
    assert await waiting == messages[0]
    await short.give_back()
    await layer.close_pools()


async def _connected(layer: Any) -> int:
    return len(await layer.connection(0).client_list())


async def test_the_quick_way_keeps_its_connections_and_closes_them(own_redis: Redis) -> None:
    """B44: as many as messages leave at once. Those that a restart of Redis has broken are replaced."""
    layer = RedisChannelLayer(hosts=[own_redis.url])
    short: Any = quick(layer, ChannelFull)
    before = await _connected(layer)

    async def send(count: int) -> None:
        await asyncio.gather(*[short.send(f"test.{number}", {"type": "x"}) for number in range(count)])

    for count in (3, 1, 2):
        await send(count)
    assert await _connected(layer) == before + 3
    own_redis.kill()
    own_redis.start()
    with pytest.raises(RedisConnectionError):
        await send(1)
    await send(3)
    await short.give_back()
    pool = layer.connection(0).connection_pool
    assert not pool._in_use_connections
    assert {one.socket_timeout for one in pool._available_connections} == {pool.make_connection().socket_timeout}
    await layer.close_pools()


async def test_a_node_that_stops_while_redis_hangs_gives_its_connections_back(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B44: a process that loses its lease stops again and again, and the pool holds so many."""
    monkeypatch.setattr("lightmoon_django.cluster.carriers.layer.SEND_PATIENCE", 0.3)
    layer = RedisChannelLayer(hosts=[own_redis.url])
    carrier = LayerCarrier(1, quick(layer, ChannelFull), full=ChannelFull)
    ends = [Endpoint("", "", channel_name(2 + number)) for number in range(ALL_AT_ONCE)]
    await asyncio.gather(*[carrier.carry(end.channel, b"before") for end in ends])
    assert own_redis._process is not None
    own_redis._process.send_signal(signal.SIGSTOP)
    try:
        for end in ends:
            path = carrier.open(end, lambda lost: None)
            assert path is not None
            for _ in range(AT_ONCE):
                path.send(b"packet")
            path.close()
        await carrier.stop()
        assert not layer.connection(0).connection_pool._in_use_connections
    finally:
        own_redis._process.send_signal(signal.SIGCONT)
    await layer.close_pools()


async def _asked(connection: Any) -> int:
    """Scripts that a Redis has run."""
    found = await connection.info("commandstats")
    return int(found["cmdstat_eval"]["calls"]) if "cmdstat_eval" in found else 0


async def test_the_quick_way_leads_to_the_same_groups(shared_redis: Redis) -> None:
    """Members of both kinds; one that is full is passed over, and one that has expired is forgotten."""
    layer = RedisChannelLayer(hosts=[shared_redis.url], capacity=3)
    short = quick(layer, ChannelFull)
    group, message = f"group.{new_incarnation()}", {"type": "x", "data": b"\x00\xff"}
    channels = [channel_name(new_incarnation()) for _ in range(3)]
    for channel in channels:
        await short.group_add(group, channel)
    for _ in range(3):
        await layer.send(channels[0], {"type": "full"})
    connection = layer.connection(0)
    await connection.zadd(layer._group_key(group), {channels[2]: 1})  # long ago
    asked = await _asked(connection)
    await short.group_send(group, message)
    assert await _asked(connection) == asked + 1
    assert await layer.receive(channels[1]) == message
    assert [await short.receive(channels[0]) for _ in range(3)] == [{"type": "full"}] * 3
    assert await connection.exists(layer.prefix + channels[2]) == 0
    assert set(await connection.zrange(layer._group_key(group), 0, -1)) == {one.encode() for one in channels[:2]}
    await layer.close_pools()


async def test_groups_over_several_redis_are_left_to_the_layer() -> None:
    asked: list[str] = []
    layer = RedisChannelLayer(hosts=["redis://127.0.0.1:1", "redis://127.0.0.1:2"])

    async def group_send(group: str, message: dict[str, Any]) -> None:
        asked.append(group)

    layer.group_send = group_send
    await quick(layer, ChannelFull).group_send("group", {"type": "x"})
    assert asked == ["group"]


def test_other_layers_are_used_as_they_are() -> None:
    memory = InMemoryChannelLayer()
    assert quick(memory, ChannelFull) is memory
    pubsub = RedisPubSubChannelLayer(hosts=["redis://127.0.0.1:1"])
    assert quick(pubsub, ChannelFull) is pubsub


async def test_a_reader_whose_way_has_gone_dead_finds_another(
    own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B44: also where redis-py, as before its version 8, waits for ever. Neither end hears that it is cut."""
    monkeypatch.setattr("lightmoon_django.cluster.carriers.redis.BLOCK", 1)
    monkeypatch.setattr("lightmoon_django.cluster.carriers.redis.SILENCE", 0.5)
    way = Proxy(own_redis.socket)
    patient = {"host": way.host, "port": way.port, "socket_timeout": None}
    here, there = RedisChannelLayer(hosts=[patient]), RedisChannelLayer(hosts=[own_redis.url])
    got: list[object] = []
    inbox = Inbox(quick(here, ChannelFull), "lightmoon.node.1", {"x": got.append})
    inbox.start()
    try:
        await quick(there, ChannelFull).send("lightmoon.node.1", {"type": "x", "data": 1})
        await until(lambda: got == [1], lambda: str(got))
        way.cut()
        way.heal(forget=True)
        await asyncio.sleep(1.2)  # so that Redis has given its message to the dead connection, if to any
        await quick(there, ChannelFull).send("lightmoon.node.1", {"type": "x", "data": 2})
        await until(lambda: got == [1, 2], lambda: str(got))
    finally:
        await inbox.stop()
        for layer in (here, there):
            await layer.close_pools()
        way.close()
