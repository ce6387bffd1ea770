"""Streams between nodes by way of a channel layer that loses, repeats and reorders (B44, B55, B59; design §9.12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer

from lightmoon_django.cluster import casts, outlets
from lightmoon_django.cluster.carriers.redis import quick
from lightmoon_django.cluster.groups import LARGEST
from lightmoon_django.identity import Address
from tests.cluster.stations import ROOM, BadLayer, Session, Station, Stations, caught_up, joined
from tests.cluster.world import until
from tests.services import Redis

LOT = Address("live.Lot", "a")  # has `view_for`


@pytest_asyncio.fixture
async def stations() -> AsyncIterator[Stations]:
    found = Stations()
    yield found
    await found.stop()


def perfect(seed: int = 0) -> BadLayer:
    layer = BadLayer(seed)
    layer.weights, layer.delays = (0.0, 1.0, 0.0), (0.0,)
    return layer


@pytest.mark.parametrize("seed", range(6))
async def test_every_subscriber_sees_each_event_once_and_in_order(
    seed: int, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B55: whatever becomes of group messages. `Session` fails at the first gap, repetition or exchange."""
    monkeypatch.setattr(casts, "TELL_EVERY", 0.1)
    layer = BadLayer(seed)
    owner, *others = [await stations.start(layer) for _ in range(4)]
    sessions = [Session(f"{number}") for number in range(9)]
    for number, session in enumerate(sessions[:6]):
        others[number % 3].subscribe(session, owner)
    for number in range(200):
        for _ in range(layer.rng.choice((1, 1, 1, 5))):
            owner.emit(number)
        if number in (60, 90, 120):  # somebody joins a stream that flows
            late = sessions[6 + (number - 60) // 30]
            others[layer.rng.randrange(3)].subscribe(late, owner)
        if number == 100:
            others[0].unsubscribe(sessions[0])
        await asyncio.sleep(layer.rng.choice((0.0, 0.001, 0.005)))
    await joined(sessions[1:])
    await caught_up(owner, sessions[1:])
    assert not any(one.resets for one in sessions)
    assert all(len(one.heard) > 100 for one in sessions[1:6])
    assert owner.left == ["0"]


@pytest.mark.parametrize("seed", range(2))
async def test_what_not_everybody_may_see_is_hidden_whichever_way_it_came(
    seed: int, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B55, B60: it is cast once for all, and the history makes good what got lost: both with what the others get."""
    monkeypatch.setattr(casts, "TELL_EVERY", 0.1)
    layer = BadLayer(seed)
    owner, *others = [await stations.start(layer) for _ in range(3)]
    nurses = [Session(f"nurse{number}") for number in range(2)]
    visitors = [Session(f"visitor{number}", hidden=["whispered"]) for number in range(2)]
    for station, nurse, visitor in zip(others, nurses, visitors, strict=True):
        station.subscribe(nurse, owner)
        station.subscribe(visitor, owner)
    await joined([*nurses, *visitors])
    for number in range(1, 101):
        owner.stream().emit(("said", "whispered")[number % 2], b"%d" % number)
        await asyncio.sleep(0.001)
    await caught_up(owner, [*nurses, *visitors])
    assert all(one.heard == list(range(1, 101)) for one in nurses)
    assert all(one.heard == [None if number % 2 else number for number in range(1, 101)] for one in visitors)
    assert 0 < layer.casts <= 100


@pytest.mark.parametrize("seed", range(2))
async def test_what_has_no_number_comes_once_to_all_who_follow_and_behind_what_it_was_told_behind(
    seed: int, stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Presence: it makes no gap, it overtakes neither frames nor the answer to a subscription, and none gets lost."""
    monkeypatch.setattr(casts, "TELL_EVERY", 0.1)
    layer = BadLayer(seed)
    owner, *others = [await stations.start(layer) for _ in range(3)]
    sessions = [Session(f"{number}") for number in range(8)]
    told = list[int]()
    for number in range(120):
        owner.emit(number)
        owner.tell()
        told.append(owner.stream().seq)
        if number % 15 == 1:
            others[number % 2].subscribe(sessions[number // 15], owner)
        await asyncio.sleep(layer.rng.choice((0.0, 0.001, 0.005)))
    await joined(sessions)
    owner.tell()
    told.append(owner.stream().seq)
    await caught_up(owner, sessions)
    await until(lambda: all(one.asides[-2:] == told[-2:] for one in sessions), lambda: "not all was told")
    for one in sessions:
        began = told[-1] - len(one.heard)  # the position that it joined at
        assert [seq for seq in one.asides if seq > began] == [seq for seq in told if seq > began]
    assert not any(one.resets for one in sessions)


async def test_what_each_sees_differently_is_never_cast(stations: Stations) -> None:
    """The history doesn't hold it, so nothing could make good what a cast loses."""
    layer = BadLayer(0)
    layer.lose = lambda: True
    owner, *others = [await stations.start(layer) for _ in range(3)]
    sessions = [Session(f"{number}") for number in range(4)]
    for number, session in enumerate(sessions):
        others[number % 2].subscribe(session, owner, LOT)
    await joined(sessions)
    stream = owner.stream(LOT)
    for number in range(1, 21):
        stream.patch_each({"0": f'"data":{number}', "1": f'"data":{number}', "2": f'"data":-{number}', "3": ""})
        await asyncio.sleep(0)
    await caught_up(owner, sessions, address=LOT)
    there = list(range(1, 21))
    assert [one.heard for one in sessions] == [there, there, [-number for number in there], [None] * 20]
    assert layer.casts == 0
    assert not any(layer.groups.values())
    assert not any(one.resets for one in sessions)


@pytest.mark.parametrize("others", [1, 3])
async def test_an_event_is_one_message_of_the_layer_however_many_nodes_follow(others: int, stations: Stations) -> None:
    layer = perfect()
    owner = await stations.start(layer)
    sessions = []
    for number in range(others):
        station = await stations.start(layer)
        for share in range(3):
            sessions.append(Session(f"{number}.{share}"))
            station.subscribe(sessions[-1], owner)
    await joined(sessions)
    for number in range(20):
        owner.emit(number)
        owner.emit(number)  # of one turn
        await caught_up(owner, sessions)
    assert layer.casts == 20


async def test_the_last_event_of_a_burst_is_missed_within_a_second(stations: Stations) -> None:
    """Nothing comes after it by which its absence could be seen."""
    layer = perfect()
    owner, other = await stations.start(layer), await stations.start(layer)
    session = Session("s")
    other.subscribe(session, owner)
    await joined([session])
    owner.emit(1)
    await caught_up(owner, [session])
    layer.lose = lambda: True
    began = asyncio.get_running_loop().time()
    owner.emit(2)
    await caught_up(owner, [session])
    assert asyncio.get_running_loop().time() - began < 1.5
    assert session.heard == [1, 2]


async def test_what_the_owner_no_longer_has_ends_in_a_reset(stations: Stations) -> None:
    """B55: an explicit reset, never a silent gap. The subscriber may follow again."""
    layer = perfect()
    owner, other = await stations.start(layer, history=5), await stations.start(layer)
    sessions = [Session("one"), Session("two")]
    for session in sessions:
        other.subscribe(session, owner)
    await joined(sessions)
    layer.lose = lambda: True
    for number in range(20):  # at once: nobody asks for the first ones while the owner still has them
        owner.emit(number)
    await until(lambda: all(one.resets == ["gap"] for one in sessions), lambda: "no reset")
    assert [one.heard for one in sessions] == [[], []]
    assert sorted(owner.left) == ["one", "two"]
    assert not owner.stream().subscribers
    layer.lose = lambda: False
    other.subscribe(sessions[0], owner)
    await joined(sessions[:1])
    owner.emit(20)
    await caught_up(owner, sessions[:1])
    assert sessions[0].heard == [20]


async def test_a_reply_comes_after_the_events_of_its_turn(stations: Stations) -> None:
    """Design §9.12: it takes another way than they, and waits for them; also for those that get lost."""
    layer = BadLayer(7)
    layer.delays = (0.02,)
    owner, other = await stations.start(layer), await stations.start(layer)
    session, order = Session("s"), list[tuple[int, int]]()
    other.subscribe(session, owner)
    await joined([session])
    for number in range(1, 41):
        other.ask(owner, lambda number=number: order.append((number, session.position.seq)))  # type: ignore[misc]
        await asyncio.sleep(0.002)
    await until(lambda: len(order) == 40, lambda: f"{len(order)} replies")
    assert [number for number, _ in order] == list(range(1, 41))
    assert all(seq >= number for number, seq in order)


async def test_a_node_that_nobody_follows_on_any_more_is_told_nothing(stations: Stations) -> None:
    layer = perfect()
    owner, other = await stations.start(layer), await stations.start(layer)
    sessions = [Session("one"), Session("two")]
    for session in sessions:
        other.subscribe(session, owner)
    await joined(sessions)
    await until(lambda: layer.groups, lambda: "The node did not join.")
    for session in sessions:
        other.unsubscribe(session)
    await until(lambda: len(owner.left) == 2, lambda: str(owner.left))
    assert not owner.stream().subscribers
    await until(lambda: not any(layer.groups.values()), lambda: "The node did not leave.")
    owner.emit(1)
    other.subscribe(sessions[0], owner)  # again, at once
    await joined(sessions[:1])
    owner.emit(2)
    await caught_up(owner, sessions[:1])
    assert sessions[0].heard == [2]


async def test_a_frame_that_is_too_large_for_the_layer_goes_by_links(
    stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casts, "TELL_EVERY", 1000.0)  # it must not have to be asked for
    layer = perfect()
    owner, other = await stations.start(layer), await stations.start(layer)
    session = Session("s")
    other.subscribe(session, owner)
    await joined([session])
    owner.emit(1)
    await caught_up(owner, [session])
    owner.stream().emit("said", b"[" + b" " * LARGEST + b"]")
    await caught_up(owner, [session])
    assert session.heard == [1, []]


class Hanging(BadLayer):
    """`group_send` waits until it is let go."""

    def __init__(self) -> None:
        super().__init__(0)
        self.open = asyncio.Event()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self.open.wait()
        raise ConnectionError("The layer is away.")


async def test_a_layer_that_hangs_costs_no_memory_and_loses_nothing(
    stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guarantee 11. What could not be cast is asked for, by the links that still work here."""
    monkeypatch.setattr(outlets, "MOST_PENDING", 20_000)
    layer = Hanging()
    owner, other = await stations.start(layer), await stations.start(layer)
    session = Session("s")
    other.subscribe(session, owner)
    await joined([session])
    found = owner.streaming.outlets.find(other.me, ROOM)
    assert found is not None
    for number in range(400):
        owner.emit(number)
        assert sum(map(len, found.pending)) <= 20_000
        if number % 40 == 0:
            await asyncio.sleep(0)
    await caught_up(owner, [session])
    assert session.heard == list(range(400))
    layer.open.set()
    owner.emit(400)
    await caught_up(owner, [session])


async def test_the_stream_s_end_reaches_all_nodes(stations: Stations) -> None:
    layer = perfect()
    owner, *others = [await stations.start(layer) for _ in range(3)]
    sessions = [Session("one"), Session("two")]
    for station, session in zip(others, sessions, strict=True):
        station.subscribe(session, owner)
    await joined(sessions)
    owner.emit(1)
    owner.stream().end("stored by somebody else")
    await until(lambda: all(one.resets for one in sessions), lambda: "no reset")
    assert [one.heard for one in sessions] == [[1], [1]], "What was released before the end was kept back."
    for station in others:
        assert station.streaming.mirrors.get(ROOM) is None


async def test_a_flushed_redis_leaves_no_gap(own_redis: Redis, stations: Stations) -> None:
    """B44: with it goes who is a member of what. Followers find out, join again, and get what they missed."""
    found: list[Station] = []
    for _ in range(3):
        stations.layers.append(RedisChannelLayer(hosts=[own_redis.url]))
        found.append(await stations.start(quick(stations.layers[-1], ChannelFull)))
    owner, *others = found
    sessions = [Session(f"{number}") for number in range(4)]
    for number, session in enumerate(sessions):
        others[number % 2].subscribe(session, owner)
    await joined(sessions)
    number = 0

    async def flow(seconds: float) -> None:
        nonlocal number
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            number += 1
            owner.emit(number)
            await asyncio.sleep(0.01)

    for _ in range(3):
        await flow(0.1)
        await caught_up(owner, sessions)
        own_redis.flush()
        await flow(0.3)
    await caught_up(owner, sessions)
    assert not any(one.resets for one in sessions)
    assert {tuple(one.heard) for one in sessions} == {tuple(range(1, number + 1))}
    received: list[object] = []
    carrier = others[0].carrier
    take, carrier.on_cast = carrier.on_cast, received.append
    owner.emit(0)
    await until(lambda: received, lambda: "Casts no longer come.")
    take(received[0])
    await caught_up(owner, sessions)


async def test_a_restarted_redis_leaves_no_gap(own_redis: Redis, stations: Stations) -> None:
    """B44: while it is away neither casts nor links get through."""
    found: list[Station] = []
    for _ in range(2):
        stations.layers.append(RedisChannelLayer(hosts=[own_redis.url]))
        found.append(await stations.start(quick(stations.layers[-1], ChannelFull)))
    owner, other = found
    session = Session("s")
    other.subscribe(session, owner)
    await joined([session])
    owner.emit(0)
    await caught_up(owner, [session])
    own_redis.kill()
    for number in range(1, 30):
        owner.emit(number)
        await asyncio.sleep(0.005)
    await asyncio.to_thread(own_redis.start)
    owner.emit(30)
    await caught_up(owner, [session])
    assert session.heard == list(range(31))
    assert not session.resets
