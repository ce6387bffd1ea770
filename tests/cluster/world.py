"""Two networks, or two ends of one link, over each kind of carrier."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer

from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.carriers.redis import quick
from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.link import Link
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.route import Carrier, Changed, Receiver
from lightmoon_django.cluster.traffic import Traffic
from lightmoon_django.cluster.wire import Wire
from lightmoon_django.identity import Endpoint, new_incarnation
from lightmoon_django.testing.clock import ManualClock
from tests.services import Redis

HOST = "this host"
SECRET = "only for the tests"
PATIENCE = 30.0  # seconds


async def until(condition: Callable[[], object], what: Callable[[], str], seconds: float = PATIENCE) -> None:
    """Wait for it. `what` tells how far it got, when that takes too long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        assert loop.time() < end, f"Not within {seconds} s: {what()}"
        await asyncio.sleep(0.002)


class Node:
    """A network that keeps what it receives."""

    def __init__(self, world: World, carriers: list[Carrier], incarnation: int, secret: str = SECRET) -> None:
        self.incarnation = incarnation
        self.received: list[tuple[int, bytes]] = []
        self.lost: list[bytes] = []
        self.network = Network(
            incarnation,
            secrets=[secret],
            carriers=carriers,
            lookup=world.endpoints.get,
            on_frame=lambda sender, frame: self.received.append((sender, frame)),
            on_lost=lambda _, frames: self.lost.extend(frames),
            rng=random.Random(incarnation),
        )

    @property
    def frames(self) -> list[bytes]:
        return [frame for _, frame in self.received]

    async def expect(self, frames: list[bytes], seconds: float = PATIENCE) -> None:
        """Exactly these arrive here, in this order, and nothing after them."""
        await until(
            lambda: len(self.received) >= len(frames),
            lambda: (
                f"{len(self.received)} of {len(frames)} frames arrived at {self.incarnation}; {self.network.stats()}"
            ),
            seconds,
        )
        assert self.frames == frames


class World:
    """Nodes that find each other. `stop` before its loop ends."""

    def __init__(self, add: Callable[[World, int], tuple[list[Carrier], Endpoint]]) -> None:
        self.endpoints: dict[int, Endpoint] = {}
        self.nodes: list[Node] = []
        self.layers: list[RedisChannelLayer] = []
        self._add = add

    def carriers(self, incarnation: int) -> list[Carrier]:
        carriers, self.endpoints[incarnation] = self._add(self, incarnation)
        return carriers

    async def node(self, incarnation: int | None = None, secret: str = SECRET) -> Node:
        incarnation = incarnation or new_incarnation()
        node = Node(self, self.carriers(incarnation), incarnation, secret)
        self.nodes.append(node)
        await node.network.start()
        return node

    async def stop(self) -> None:
        for node in self.nodes:
            await node.network.stop()
        for layer in self.layers:
            await layer.close_pools()


def over_unix(directory: Path) -> World:
    def add(world: World, incarnation: int) -> tuple[list[Carrier], Endpoint]:
        carrier = UnixCarrier(incarnation, host=HOST, directory=directory)
        return [carrier], Endpoint(HOST, carrier.socket)

    return World(add)


def over_redis(server: Redis, *, plain: bool = False, **options: Any) -> World:
    """`plain`: by channels_redis's own methods, not by the quick ones."""

    def add(world: World, incarnation: int) -> tuple[list[Carrier], Endpoint]:
        layer = RedisChannelLayer(**{"hosts": [server.url], **options})
        world.layers.append(layer)
        carrier = LayerCarrier(incarnation, layer if plain else quick(layer, ChannelFull), full=ChannelFull)
        return [carrier], Endpoint("", "", carrier.channel)

    return World(add)


def over_memory(**options: Any) -> World:
    layer = InMemoryChannelLayer(**options)

    def add(world: World, incarnation: int) -> tuple[list[Carrier], Endpoint]:
        carrier = LayerCarrier(incarnation, layer, full=ChannelFull)
        return [carrier], Endpoint("", "", carrier.channel)

    return World(add)


def over_losses(seed: int) -> World:
    air: dict[str, LossyCarrier] = {}

    def add(world: World, incarnation: int) -> tuple[list[Carrier], Endpoint]:
        carrier = LossyCarrier(air, str(incarnation), random.Random(f"{seed} {incarnation}"))
        return [carrier], Endpoint("", "", str(incarnation))

    return World(add)


class CallLater(Protocol):
    def __call__(self, delay: float, callback: Callable[..., object], *arguments: Any) -> object: ...


class Losses:
    """A way that drops, repeats and reorders as its seed says. Implements `route.CarrierPath`."""

    limit = 256 * 1024
    patience = 0.0
    private = False
    alive = True
    ready = True

    def __init__(self, rng: random.Random, call_later: CallLater, arrive: Callable[[bytes], object]) -> None:
        self.rng = rng
        self.broken = False  # nothing gets through
        self.prompt = False
        self._call_later = call_later
        self._arrive = arrive

    def send(self, packet: bytes) -> None:
        copies = self.rng.choices((0, 1, 2), (0.15, 0.7, 0.15))[0]
        for _ in range(0 if self.broken else copies):
            self._call_later(self.rng.choice((0.0, 0.001, 0.01, 0.05)) * self.rng.random(), self._arrive, packet)

    def close(self) -> None:
        pass


class LossyCarrier:
    """Implements `route.Carrier`."""

    name = "lossy"

    def __init__(self, air: dict[str, LossyCarrier], name: str, rng: random.Random) -> None:
        self._air = air
        self._rng = rng
        air[name] = self
        self.receive: Callable[[object], None] = lambda packet: None

    async def start(self, receiver: Receiver) -> None:
        self.receive = receiver.receive

    async def stop(self) -> None:
        pass

    def open(self, endpoint: Endpoint, changed: Changed) -> Losses:
        def arrive(packet: bytes) -> None:
            self._air[endpoint.channel].receive(packet)

        return Losses(self._rng, asyncio.get_running_loop().call_later, arrive)


class End:
    """One end of a link in simulated time."""

    def __init__(self, pair: Pair, me: int, peer: int, rng: random.Random) -> None:
        self.received: list[bytes] = []
        self.lost: list[bytes] = []
        self.traffic = Traffic()
        self.path = Losses(rng, pair.call_later, lambda packet: pair.arrive(peer, packet))
        self.link = Link(
            me,
            peer,
            pair.wire,
            self.path,
            clock=pair.clock,
            call_soon=lambda callback: pair.call_later(0.0, callback),
            deliver=lambda _, frame: self.received.append(frame),
            lost=lambda _, frames: self.lost.extend(frames),
            traffic=self.traffic,
            rng=rng,
        )


class Pair:
    """Both ends of a link over `Losses`, with time that only `run` moves."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock()
        self.wire = Wire([SECRET])
        self.ends = {1: End(self, 1, 2, self.rng), 2: End(self, 2, 1, self.rng)}

    @property
    def left(self) -> End:
        return self.ends[1]

    @property
    def right(self) -> End:
        return self.ends[2]

    def restart(self, me: int) -> End:
        """Start that end again, under the same incarnation. Returns the old one."""
        old, self.ends[me] = self.ends[me], End(self, me, 3 - me, self.rng)
        return old

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> object:
        return self.clock.call_at(self.clock.monotonic() + delay, lambda: callback(*arguments))

    def arrive(self, at: int, packet: bytes) -> None:
        self.ends[at].link.receive(self.wire.open_batch(packet))

    def run(self, condition: Callable[[], bool], what: Callable[[], str], seconds: float = 600.0) -> None:
        """Let simulated time pass until the condition holds."""
        end = self.clock.monotonic() + seconds
        while not condition():
            assert self.clock.monotonic() < end, f"Not within {seconds} simulated seconds: {what()}"
            self.clock.advance(0.01)


def numbered(prefix: bytes, count: int, size: int = 0) -> list[bytes]:
    return [prefix + b"%d" % number + b"." * size for number in range(count)]


def shares(rng: random.Random, frames: list[bytes]) -> Iterator[list[bytes]]:
    """The frames, cut at random."""
    left = iter(frames)
    while part := list(itertools.islice(left, rng.randint(1, 50))):
        yield part
