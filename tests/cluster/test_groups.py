"""Casts to groups of nodes, with a layer and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer
from channels_redis.core import RedisChannelLayer

from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.carriers.redis import quick
from lightmoon_django.cluster.groups import LARGEST, Groups, group_name
from lightmoon_django.cluster.memberships import Memberships
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.sendwindow import FrameTooLarge
from lightmoon_django.cluster.traffic import Traffic
from lightmoon_django.cluster.wire import Wire
from lightmoon_django.identity import Address, new_incarnation
from tests.cluster.world import SECRET, until
from tests.services import Redis

GROUP = "chat.Room:" + "ö" * 300


class Member:
    """A node in groups."""

    def __init__(self, layer: Any, group_expiry: float = 86400) -> None:
        self.incarnation = new_incarnation()
        self.got: list[tuple[int, str, bytes]] = []
        self.traffic = Traffic()
        self.carrier = LayerCarrier(self.incarnation, layer, full=ChannelFull)
        self.groups = Groups(
            self.incarnation,
            Wire([SECRET]),
            lambda *cast: self.got.append(cast),
            traffic=self.traffic,
            layer=layer,
            channel=self.carrier.channel,
            group_expiry=group_expiry,
        )
        self.carrier.on_cast = self.groups.receive


@pytest_asyncio.fixture(params=["memory", "redis"])
async def members(request: pytest.FixtureRequest) -> AsyncIterator[list[Member]]:
    """Three nodes with a layer in common."""
    found: list[Member] = []
    layers: list[Any] = []
    shared = InMemoryChannelLayer()
    for _ in range(3):
        if request.param == "redis":
            server: Redis = request.getfixturevalue("shared_redis")
            layers.append(RedisChannelLayer(hosts=[server.url]))
        found.append(Member(quick(layers[-1], ChannelFull) if layers else shared))
    for member in found:
        await member.carrier.start(Network(1, secrets=[SECRET], carriers=[], lookup=lambda _: None, on_frame=print))
    yield found
    for member in found:
        await member.groups.stop()
        await member.carrier.stop()
    for layer in layers:
        await layer.close_pools()


async def test_a_cast_reaches_the_members_and_nobody_else(members: list[Member]) -> None:
    first, second, third = members
    for member in (first, second):
        await member.groups.join(GROUP)
    await third.groups.join("another")
    await first.groups.send(GROUP, b"news")
    await third.groups.send(GROUP, b"more")
    news, more = (first.incarnation, GROUP, b"news"), (third.incarnation, GROUP, b"more")
    await until(lambda: second.got == [news, more], lambda: str(second.got))
    await until(lambda: first.got == [more], lambda: str(first.got))
    assert third.got == []


async def test_who_left_hears_nothing(members: list[Member]) -> None:
    first, second, _ = members
    await second.groups.join(GROUP)
    await second.groups.leave(GROUP)
    await second.groups.join("another")
    for group in (GROUP, "another"):
        await first.groups.send(group, b"news")
    await until(lambda: second.got, lambda: "nothing came")
    assert second.got == [(first.incarnation, "another", b"news")]


async def test_a_membership_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """channels_redis forgets members after a day; and a flushed Redis at once."""
    layer = InMemoryChannelLayer()
    member = Member(layer, group_expiry=0.08)
    await member.groups.join(GROUP)
    layer.groups.clear()
    await until(lambda: group_name(GROUP) in layer.groups, lambda: "The membership was not renewed.")
    await member.groups.stop()
    assert group_name(GROUP) not in layer.groups


async def test_a_forged_cast_is_dropped() -> None:
    layer = InMemoryChannelLayer()
    member = Member(layer)
    await member.groups.join(GROUP)
    evil = Groups(1, Wire(["another"]), print, traffic=Traffic(), layer=layer, channel="evil")
    await evil.send(GROUP, b"evil")
    member.groups.receive((await layer.receive(member.carrier.channel))["data"])
    member.groups.receive(b"nonsense" * 10)
    await member.groups.stop()
    assert member.got == []
    assert member.traffic.dropped == {"forged": 2}


async def test_a_cast_over_the_limit_is_an_error() -> None:
    with pytest.raises(FrameTooLarge):
        await Member(InMemoryChannelLayer()).groups.send(GROUP, bytes(LARGEST + 1))


def test_any_text_names_a_group() -> None:
    layer = InMemoryChannelLayer()
    for group in ("", GROUP, "a b!c\0", "x" * 5000):
        assert layer.require_valid_group_name(group_name(group))
    assert group_name("a") != group_name("b")


async def test_what_is_wanted_as_a_step_ends_is_not_forgotten() -> None:
    """B55: a stream that is left, and followed again, at the very moment when the node has joined its group."""
    member = Member(InMemoryChannelLayer())
    room = Address("chat.Room", "a")
    left = asyncio.Event()

    def leave() -> None:
        memberships.unwant(room)
        left.set()

    memberships = Memberships(member.groups, lambda _: asyncio.get_running_loop().call_soon(leave))
    memberships.want(room)
    await left.wait()
    await until(lambda: not memberships._tasks, "all is settled")
    assert member.groups._joined == {}
    await memberships.stop()


class Hanging(InMemoryChannelLayer):
    """Takes the next so many changes of a membership, and never answers."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def group_add(self, group: str, channel: str) -> None:
        await self._perhaps()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._perhaps()
        await super().group_discard(group, channel)

    async def _perhaps(self) -> None:
        self.times -= 1
        if self.times >= 0:
            await asyncio.Event().wait()


async def test_a_layer_that_swallows_a_membership_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """B44: a way to Redis that has gone dead answers nothing for a quarter of an hour."""
    monkeypatch.setattr("lightmoon_django.cluster.groups.PATIENCE", 0.05)
    monkeypatch.setattr("lightmoon_django.cluster.groups.RETRY", 0.01)
    monkeypatch.setattr("lightmoon_django.cluster.memberships.RETRY", 0.01)
    layer = Hanging(2)
    member = Member(layer, group_expiry=0.2)
    joined: list[Address] = []
    memberships = Memberships(member.groups, joined.append)
    address = Address("chat.Room", "1")
    memberships.want(address)
    await until(lambda: joined == [address], lambda: "It did not join.")
    layer.times = 2
    layer.groups.clear()
    await until(lambda: group_name(str(address)) in layer.groups, lambda: "The membership was not renewed.")
    member.groups._every = 1000.0  # nor is it asked for anything else
    layer.times = 2
    memberships.unwant(address)
    await until(lambda: not layer.groups, lambda: "It did not leave.")
    await until(lambda: not memberships._tasks, lambda: "It does not come to rest.")
    await memberships.stop()


class Slow(InMemoryChannelLayer):
    """Lets nobody in, or out, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.entry, self.exit = asyncio.Event(), asyncio.Event()
        self.entry.set()
        self.exit.set()

    async def group_add(self, group: str, channel: str) -> None:
        self.asked.append(group)
        await self.entry.wait()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.asked.append(f"out of {group}")
        await self.exit.wait()
        await super().group_discard(group, channel)

    async def next(self, asked: str) -> None:
        """Until that is asked for from now on."""
        self.asked.clear()
        await until(lambda: asked in self.asked, lambda: f"{asked} is not asked for, only {self.asked}")


@pytest.mark.parametrize("left", ["first", "second"])
async def test_what_is_left_while_memberships_are_renewed_stays_left(left: str) -> None:
    """Else its casts would come for a day, to nobody: the one that is just being renewed, or one that is yet to be."""
    layer = Slow()
    member = Member(layer, group_expiry=0.08)
    for group in ("first", "second"):
        await member.groups.join(group)
    layer.entry.clear()
    await layer.next(group_name("first"))
    await member.groups.leave(left)
    layer.entry.set()
    stays = group_name({"first": "second", "second": "first"}[left])
    for _ in range(2):  # the round that was under way, and a whole one
        await layer.next(stays)
    assert list(layer.groups) == [stays]
    await member.groups.stop()


async def test_what_is_left_and_joined_again_while_it_is_renewed_stays_joined() -> None:
    layer, name = Slow(), group_name(GROUP)
    member = Member(layer, group_expiry=0.08)
    await member.groups.join(GROUP)
    layer.entry.clear()
    await layer.next(name)
    member.groups._every = 1000.0  # no later round mends it
    await member.groups.leave(GROUP)
    layer.exit.clear()
    layer.entry.set()
    await layer.next(f"out of {name}")
    await member.groups.join(GROUP)
    layer.exit.set()
    await layer.next(name)
    await until(lambda: name in layer.groups, lambda: "It is no member any more.")
    await member.groups.stop()
