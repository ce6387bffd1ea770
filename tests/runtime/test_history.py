"""Coming back to a stream: what was missed, or a snapshot, and never a silent gap."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Subscription
from lightmoon_django.errors import LightMoonError
from lightmoon_django.identity import Address, Position
from lightmoon_django.runtime.history import Retention
from lightmoon_django.runtime.streams import Stream, params_of
from tests.runtime.conftest import World


class Follower:
    """A subscriber that keeps what it hears."""

    def __init__(self, id: str = "follower") -> None:
        self.id = id
        self.frames: list[Any] = []

    def push(self, frame: str) -> None:
        self.frames.append(json.loads(params_of(frame)))

    def reset(self, address: Address, reason: str) -> None:
        self.frames.append(reason)


class Joining(Subscription):
    """A subscription whose answer is awaited."""

    __slots__ = ("answer",)

    def resolve(self, payload: bytes) -> None:
        self.answer.set_result(json.loads(payload))

    def reject(self, error: LightMoonError) -> None:
        self.answer.set_exception(error)


async def join(world: World, actor: Any, follower: Follower, since: Position | None = None) -> Any:
    """The answer of `lm.subscribe`."""
    schema = registry.schema_of(world.cls)
    call = Joining(schema.subscription, actor.key, (), b"", world.node.clock.monotonic() + 10)
    call.subscriber, call.since = follower, since
    call.answer = asyncio.get_running_loop().create_future()
    world.node.post(call)
    return await call.answer


def leave(world: World, actor: Any, follower: Follower) -> None:
    world.node.unsubscribe(registry.schema_of(world.cls), actor.key, follower, None)


def position(found: Any) -> Position:
    return Position(found["epoch"], found["seq"])


async def test_who_comes_back_gets_what_it_missed_once_each(world: World) -> None:
    """B56: events and state patches in order; what comes later follows without a gap."""
    actor, follower = await world.make(), Follower()
    first = await join(world, actor, follower)
    assert (first["recovered"], first["state"]["count"], first["events"]) == (False, 0, [])
    await actor.add()
    seen = len(follower.frames)
    leave(world, actor, follower)
    for _ in range(3):
        await actor.add()
    back = Position(first["epoch"], follower.frames[-1]["seq"])
    again = await join(world, actor, follower, back)
    await actor.add()
    assert (again["recovered"], again["state"]) == (True, None)
    whole = [*follower.frames[:seen], *again["events"], *follower.frames[seen:]]
    assert [one["seq"] for one in whole] == list(range(1, 11))
    assert [one["set"]["count"] for one in whole if "set" in one] == [1, 2, 3, 4, 5]
    assert [one["data"]["count"] for one in whole if "name" in one] == [1, 2, 3, 4, 5]


async def test_who_missed_nothing_gets_nothing(world: World) -> None:
    """B56."""
    actor, follower = await world.make(), Follower()
    first = await join(world, actor, follower)
    again = await join(world, actor, follower, position(first))
    assert (again["recovered"], again["events"], again["seq"]) == (True, [], first["seq"])


async def test_a_position_that_is_not_held_is_answered_with_the_state(world: World) -> None:
    """B56: of another epoch, from before anybody listened, or from the future."""
    actor, follower = await world.make(), Follower()
    await actor.add()
    first = await join(world, actor, follower)
    for wrong in (Position("0", 1), Position(first["epoch"], 0), Position(first["epoch"], 99)):
        found = await join(world, actor, follower, wrong)
        assert (found["recovered"], found["state"]["count"], found["events"]) == (False, 1, [])
        assert position(found) == position(first)


class Held:
    """A stream on a clock that the test owns."""

    def __init__(self, messages: int = 5, seconds: float = 60.0, size: int = 10_000) -> None:
        self.now = 0.0
        retention = Retention(messages=messages, seconds=seconds, size=size, monotonic=lambda: self.now)
        self.stream = Stream(Address("live.Tally", "1"), "e", retention)
        self.follower = Follower()

    def emit(self, times: int, data: bytes = b"{}") -> None:
        for _ in range(times):
            self.stream.emit("added", data)

    def missed(self, seq: int) -> list[int] | None:
        found = self.stream.missed(Position("e", seq))
        return None if found is None else [json.loads(params_of(frame))["seq"] for frame in found]


def test_a_stream_that_nobody_followed_keeps_nothing() -> None:
    held = Held()
    held.emit(3)
    assert not held.stream.followed
    assert held.missed(3) is None


@pytest.mark.parametrize(
    ("bounds", "data"),
    [({"messages": 3}, b"{}"), ({"size": 3 * 250}, b'"' + b"x" * 80 + b'"')],
    ids=["number", "bytes"],
)
def test_a_history_is_bounded(bounds: Any, data: bytes) -> None:
    held = Held(**bounds)
    held.stream.join(held.follower)
    held.emit(10, data)
    assert held.missed(7) == [8, 9, 10]
    assert held.missed(6) is None


def test_a_history_is_bounded_in_time() -> None:
    held = Held(seconds=60)
    held.stream.join(held.follower)
    held.emit(1)
    held.now = 50
    held.emit(1)
    held.now = 70
    assert held.missed(1) == [2]
    assert held.missed(0) is None


def test_a_stream_is_recorded_for_a_while_after_its_last_subscriber_left() -> None:
    """B56: and what is not recorded makes every earlier position a lost one, though no number was given to it."""
    held = Held(seconds=60)
    held.stream.join(held.follower)
    held.emit(1)
    assert held.stream.leave("follower")
    held.now = 59
    held.emit(1)
    assert held.missed(1) == [2]
    held.now = 61
    held.stream.tidy()
    assert not held.stream.followed
    held.stream.join(held.follower)
    assert held.missed(2) is None
    assert held.missed(held.stream.seq) == []


def test_a_history_outlives_no_frame_that_nobody_can_ask_for() -> None:
    held = Held(seconds=60)
    held.stream.join(held.follower)
    held.stream.leave("follower")
    held.now = 61
    held.emit(2)
    assert not held.stream.followed
