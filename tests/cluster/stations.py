"""Nodes that follow each other's streams over a channel layer: all of the cluster wing but calls."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer

from lightmoon_django.clock import SystemClock
from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.postbox import Postbox
from lightmoon_django.cluster.streaming import Streaming
from lightmoon_django.identity import Address, Endpoint, Position, new_epoch, new_incarnation
from lightmoon_django.messages import (
    Answer,
    Aside,
    Ended,
    Follow,
    Frame,
    Guarded,
    Lag,
    Positions,
    Remote,
    Streamed,
    Unfollow,
    decode,
    encode,
)
from lightmoon_django.runtime.history import Retention
from lightmoon_django.runtime.streams import Stream
from tests.cluster.world import SECRET, until

ROOM = Address("test.Room", "a")
GUARDED = frozenset({"whispered"})
_numbers = itertools.count(1)


class Session:
    """A subscriber that notices the slightest disorder."""

    def __init__(self, name: str, hidden: Collection[str] = ()) -> None:
        self.id = name
        self.hidden = hidden  # events that it may not see
        self.follows: Address | None = None
        self.position = Position("", 0)
        self.heard: list[Any] = []
        self.asides: list[int] = []
        self.resets: list[str] = []

    def joined(self, address: Address, position: Position) -> None:
        self.follows, self.position = address, position

    def push(self, frame: str) -> None:
        params = json.loads(frame)["params"]
        expected = (self.position.epoch, self.position.seq + 1)
        assert (params["epoch"], params["seq"]) == expected, f"{self.id} expected {expected}"
        self.position = Position(*expected)
        self.heard.append(params.get("data"))

    def push_guarded(self, address: Address, frame: Guarded) -> None:
        assert address == self.follows
        self.push(frame.skip if frame.event in self.hidden else frame.frame)

    def push_split(self, frames: Mapping[str, str], skip: str) -> None:
        self.push(frames.get(self.id, skip))

    def push_aside(self, frame: str) -> None:
        behind = json.loads(frame)["params"]["behind"]
        assert self.follows is not None, f"{self.id} hears {behind} without following"
        assert self.position.seq >= behind, f"{self.id} hears {behind} too early"
        self.asides.append(behind)

    def reset(self, address: Address, reason: str) -> None:
        assert self.follows == address, f"{self.id} is reset without following"
        self.follows = None
        self.resets.append(reason)


class Station:
    """One node. Implements `streaming.Home`."""

    def __init__(self, layer: Any, endpoints: dict[int, Endpoint], history: int = 1000) -> None:
        self.me = new_incarnation()
        clock = SystemClock()
        self.carrier = LayerCarrier(self.me, layer, full=ChannelFull)
        endpoints[self.me] = Endpoint("", "", self.carrier.channel)
        self.network = Network(
            self.me, secrets=[SECRET], carriers=[self.carrier], lookup=endpoints.get, on_frame=self._on_frame
        )
        self.postbox = Postbox(self.network.send, clock)
        self.streaming = Streaming(self.me, self, clock, self.network, self.postbox, self.carrier)
        self.streams: dict[Address, Stream] = {}
        self.left: list[str] = []
        self._retention = Retention(messages=history, seconds=60, size=2**26, monotonic=clock.monotonic)
        self._open: dict[int, Callable[[Position], None]] = {}

    async def stop(self) -> None:
        self.streaming.leave_off()
        await self.streaming.stop()
        await self.network.stop()

    # As an owner

    def stream(self, address: Address = ROOM) -> Stream:
        if address not in self.streams:
            self.streams[address] = Stream(address, new_epoch(0), self._retention, GUARDED)
        return self.streams[address]

    def emit(self, number: int, address: Address = ROOM) -> None:
        self.stream(address).emit("said", b"%d" % number)

    def tell(self, address: Address = ROOM) -> None:
        """Something without a number, which says what it comes behind."""
        stream = self.stream(address)
        stream.tell("lm.presence", b'{"behind":%d}' % stream.seq)

    def missed(self, address: Address, since: Position) -> list[str | Guarded] | None:
        return self.stream(address).missed(since)

    def follower_left(self, address: Address, outlet: str, subscriber: str, user: Any) -> None:
        if outlet:
            self.stream(address).leave(outlet)
        self.left.append(subscriber)

    def follower_described(self, address: Address, subscriber: str, meta: Mapping[str, Any]) -> None:
        raise AssertionError("Nobody here says anything of itself.")

    # As a follower

    def subscribe(self, session: Session, owner: Station, address: Address = ROOM) -> None:
        """Its answer comes when it comes."""
        id = next(_numbers)

        def answered(position: Position) -> None:
            session.joined(address, position)
            self.streaming.joined(address, owner.me, position, session)

        self._open[id] = answered
        call = Remote(id, *address, "", b"", "wire", 30.0, session.id, None, (), None, 0, 0)
        self.postbox.post(owner.me, encode(Follow(call, None, self.streaming.grouped(owner.me, address.actor))))

    def unsubscribe(self, session: Session, address: Address = ROOM) -> None:
        session.follows = None
        self.streaming.leave(address, session.id, None)

    def ask(self, owner: Station, then: Callable[[], None], address: Address = ROOM) -> None:
        """A call whose turn emits one event; `then` is its reply."""
        id = next(_numbers)
        self._open[id] = lambda _: then()
        call = Remote(id, *address, "say", b"", "wire", 30.0, None, None, (), None, 0, 0)
        self.postbox.post(owner.me, encode(call))

    def _on_frame(self, sender: int, data: bytes) -> None:
        frame: Frame = decode(data)
        streaming = self.streaming
        if isinstance(frame, Follow):
            address = Address(frame.call.actor, frame.call.key)
            stream, outlet = self.stream(address), streaming.outlets.of(sender, address, frame.grouped)
            stream.join(outlet)
            position = Position(stream.epoch, stream.seq)
            outlet.joined(sender, frame.call.caller or "", None, position)
            streaming.outlets.flush()
            self.postbox.post(sender, encode(Answer(frame.call.id, b"", position)))
        elif isinstance(frame, Remote):
            address = Address(frame.actor, frame.key)
            self.emit(frame.id, address)
            streaming.outlets.flush()
            self.postbox.post(sender, encode(Answer(frame.id, b"", streaming.outlets.position(sender, address))))
        elif isinstance(frame, Answer):
            then = self._open.pop(frame.id)
            if frame.position is None:
                then(Position("", 0))
            else:
                position = Position(*frame.position)
                streaming.after(sender, ROOM, position, partial(then, position))
        elif isinstance(frame, Streamed):
            streaming.streamed(sender, frame)
        elif isinstance(frame, Aside):
            streaming.aside(sender, frame)
        elif isinstance(frame, Positions):
            streaming.told(sender, frame)
        elif isinstance(frame, Lag):
            streaming.lagging(sender, frame)
        elif isinstance(frame, Ended):
            streaming.stream_ended(sender, frame)
        elif isinstance(frame, Unfollow):
            streaming.unfollowed(sender, frame, None)


class BadLayer(InMemoryChannelLayer):
    """Group messages are lost, repeated and overtaken, as its seed says; whatever else goes through is not."""

    def __init__(self, seed: int | str) -> None:
        super().__init__(capacity=10_000)
        self.rng = random.Random(seed)
        self.casts = 0  # `group_send`s
        self.lose: Callable[[], bool] = lambda: False  # what is lost beside that, on its way to all
        self._later: set[asyncio.Task[None]] = set()
        self.weights = (0.15, 0.7, 0.15)  # of none, one and two copies
        self.delays = (0.0, 0.002, 0.05)  # seconds at most

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.casts += 1
        if self.lose():
            return
        for channel in self.groups.get(group, ()):
            for _ in range(self.rng.choices((0, 1, 2), self.weights)[0]):
                task = asyncio.create_task(self._arrive(channel, message, self.rng.choice(self.delays)))
                self._later.add(task)
                task.add_done_callback(self._later.discard)

    async def _arrive(self, channel: str, message: dict[str, Any], delay: float) -> None:
        await asyncio.sleep(delay * self.rng.random())
        await self.send(channel, message)


class Stations:
    """An owner and those that follow it."""

    def __init__(self) -> None:
        self.endpoints: dict[int, Endpoint] = {}
        self.all: list[Station] = []
        self.layers: list[Any] = []

    async def start(self, layer: Any, **options: Any) -> Station:
        station = Station(layer, self.endpoints, **options)
        self.all.append(station)
        await station.network.start()
        return station

    async def stop(self) -> None:
        for station in self.all:
            await station.stop()
        for layer in self.layers:
            await layer.close_pools()


async def joined(sessions: list[Session]) -> None:
    await until(
        lambda: all(one.follows for one in sessions), lambda: str([one.id for one in sessions if not one.follows])
    )


async def caught_up(owner: Station, sessions: list[Session], seconds: float = 30.0, address: Address = ROOM) -> None:
    """All have the stream's latest frame."""
    stream = owner.stream(address)
    await until(
        lambda: all(one.position.seq == stream.seq for one in sessions),
        lambda: f"{stream.seq} frames, but {[(one.id, one.position.seq, one.resets) for one in sessions]}",
        seconds,
    )
