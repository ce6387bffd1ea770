"""Finding ways, falling back, forgetting, and the rest of what a network does above its links."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.route import Carrier
from lightmoon_django.cluster.wire import Batch, Wire
from lightmoon_django.identity import Endpoint
from tests.cluster.world import HOST, SECRET, World, numbered, over_memory, over_unix, until


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    found = over_memory()
    yield found
    await found.stop()


@pytest_asyncio.fixture
async def both(directory: Path) -> AsyncIterator[World]:
    """Nodes that share a host and a layer."""
    layer = InMemoryChannelLayer()

    def add(_: World, incarnation: int) -> tuple[list[Carrier], Endpoint]:
        unix = UnixCarrier(incarnation, host=HOST, directory=directory)
        other = LayerCarrier(incarnation, layer, full=ChannelFull)
        return [unix, other], Endpoint(HOST, unix.socket, other.channel)

    found = World(add)
    yield found
    await found.stop()


async def test_a_socket_is_preferred_on_one_host(both: World) -> None:
    left, right = await both.node(), await both.node()
    left.network.send(right.incarnation, b"hello")
    await right.expect([b"hello"])
    assert left.network.stats().carriers == {"unix": 1}


async def test_another_host_is_reached_by_the_layer(both: World) -> None:
    left, right = await both.node(), await both.node()
    both.endpoints[right.incarnation] = both.endpoints[right.incarnation]._replace(host="another")
    left.network.send(right.incarnation, b"hello")
    await right.expect([b"hello"])
    assert left.network.stats().carriers == {"layer": 1}


async def test_a_broken_carrier_is_gone_round_and_come_back_to(both: World, directory: Path) -> None:
    left, right = await both.node(), await both.node()
    frames = numbered(b"", 300)
    for frame in frames[:100]:
        left.network.send(right.incarnation, frame)
    await right.expect(frames[:100])
    socket = right.network._carriers[0]
    await socket.stop()
    for frame in frames[100:200]:
        left.network.send(right.incarnation, frame)
    await right.expect(frames[:200])
    assert left.network.stats().carriers == {"layer": 1}
    again = UnixCarrier(right.incarnation, host=HOST, directory=directory)
    await again.start(right.network)
    await until(lambda: left.network.stats().carriers == {"unix": 1}, lambda: str(left.network.stats()))
    for frame in frames[200:]:
        left.network.send(right.incarnation, frame)
    await right.expect(frames)
    await again.stop()


async def test_a_node_that_is_not_known_yet_gets_its_frames_when_it_is(world: World) -> None:
    left, right = await world.node(), await world.node()
    endpoint = world.endpoints.pop(right.incarnation)
    left.network.send(right.incarnation, b"early")
    await asyncio.sleep(0)
    assert left.network.stats().carriers == {"": 1}
    world.endpoints[right.incarnation] = endpoint
    await right.expect([b"early"])


async def test_a_stranger_that_was_given_up_is_heard_when_it_is_known(world: World) -> None:
    """B42: it was there before its row was, for longer than anybody waits."""
    left, right = await world.node(), await world.node()
    endpoint = world.endpoints.pop(right.incarnation)
    right.network.send(left.incarnation, b"early")
    await until(lambda: left.network.peers, lambda: str(left.network.stats()))
    left.network.forget(right.incarnation, for_good=False)
    world.endpoints[right.incarnation] = endpoint
    await left.expect([b"early"])
    left.network.send(right.incarnation, b"answer")
    await right.expect([b"answer"])


async def test_what_a_reader_raises_is_logged_and_the_frame_is_not_repeated(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    left, right = await world.node(), await world.node()

    def fail(sender: int, frame: bytes) -> None:
        right.received.append((sender, frame))
        raise ValueError("no such frame")

    right.network._on_frame = fail
    for frame in numbered(b"", 3):
        left.network.send(right.incarnation, frame)
    await right.expect(numbered(b"", 3))
    await until(lambda: left.network.stats().held == 0, lambda: str(left.network.stats()))
    assert right.frames == numbered(b"", 3)
    assert caplog.text.count("no such frame") >= 3


async def test_a_reader_may_forget_the_sender(world: World) -> None:
    left, right = await world.node(), await world.node()

    def forget(sender: int, frame: bytes) -> None:
        right.received.append((sender, frame))
        right.network.forget(sender)

    right.network._on_frame = forget
    for frame in numbered(b"", 3):
        left.network.send(right.incarnation, frame)
    await right.expect([b"0"])
    await until(lambda: right.network.traffic.dropped["from the dead"], lambda: str(right.network.stats()))
    assert right.frames == [b"0"]
    assert right.network.stats().links == 0


async def test_a_packet_for_somebody_else_is_dropped_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    node = await world.node()
    packet = Wire([SECRET]).seal(Batch(7, node.incarnation + 1, 1, 0, 0, 0, [b"not for you"]))
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            node.network.receive(packet)
    assert node.network.traffic.dropped["misdirected"] == 5
    assert caplog.text.count("misdirected") == 1
    assert node.received == []
    assert node.network.stats().links == 0


async def test_a_recorded_packet_does_nothing_again(world: World) -> None:
    """A shared Redis is not trusted: who can read and write there must not be able to repeat a call."""
    left, right = await world.node(), await world.node()
    recorded: list[object] = []
    take = right.network._carriers[0]._inbox._handlers  # type: ignore[attr-defined]
    receive = take["lightmoon.batch"]
    take["lightmoon.batch"] = lambda packet: (recorded.append(packet), receive(packet))
    for number in range(20):
        left.network.send(right.incarnation, b"%d" % number)
        await right.expect(numbered(b"", number + 1))
    for packet in [*recorded, *reversed(recorded)]:
        right.network.receive(packet)
    left.network.send(right.incarnation, b"20")
    await right.expect(numbered(b"", 21))


async def test_start_and_stop_may_be_repeated(world: World) -> None:
    node = await world.node()
    await node.network.start()
    assert await node.network.stop() == {}
    assert await node.network.stop() == {}
    with pytest.raises(RuntimeError, match="another incarnation"):
        await node.network.start()


async def test_nothing_is_sent_before_the_start_and_after_the_stop(world: World) -> None:
    node = await world.node()
    with pytest.raises(LinkClosed):
        node.network.send(node.incarnation, b"to itself")
    await node.network.stop()
    with pytest.raises(LinkClosed):
        node.network.send(8, b"late")
    fresh = Network(9, secrets=[SECRET], carriers=[], lookup=world.endpoints.get, on_frame=lambda *_: None)
    with pytest.raises(LinkClosed):
        fresh.send(8, b"early")


async def test_a_carrier_that_does_not_start_closes_the_others(directory: Path) -> None:
    world = over_unix(directory)
    opened = UnixCarrier(5, host=HOST, directory=directory)
    missing = UnixCarrier(5, host=HOST, directory=directory / "missing")
    network = Network(
        5, secrets=[SECRET], carriers=[opened, missing], lookup=world.endpoints.get, on_frame=lambda *_: None
    )
    with pytest.raises(OSError, match="No such file"):
        await network.start()
    assert list(directory.glob("*.sock")) == []
