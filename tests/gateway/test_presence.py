"""Who follows an actor: a snapshot when one joins, and what changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from lightmoon_django.actor import registry
from lightmoon_django.identity import Address
from tests.gateway.actors import Desk, Foyer
from tests.gateway.people import BY_NAME, browser, make_user
from tests.gateway.wire import OWN, Wire, eventually

FOYER, DESK = registry.name_of(Foyer), registry.name_of(Desk)
QUICK = {"PRESENCE_INTERVAL": 0.01, "PRESENCE_GRACE": 0.05, "RATE_LIMIT": 0}
PATIENT = {**QUICK, "PRESENCE_GRACE": 60}

pytestmark = pytest.mark.django_db(transaction=True)


class Watcher:
    """What a client knows who puts together what it is told."""

    def __init__(self, wire: Wire, found: Any) -> None:
        self.wire = wire
        self.run, self.rev = found["run"], found["rev"]
        self.users = _names(found["users"])
        self.count = found["count"]
        self.told: list[Any] = []

    def read(self) -> Watcher:
        while frame := next((one for one in self.wire.frames if one.get("method") == "lm.presence"), None):
            self.wire.frames.remove(frame)
            params = frame["params"]
            if params["run"] == self.run and params["rev"] <= self.rev:
                continue  # sent before the snapshot was taken
            if params["run"] != self.run and not self.told:
                continue  # the same, of a list that ended before
            assert (params["run"], params["rev"]) == (self.run, self.rev + 1), "a gap"
            self.rev += 1
            self.told.append(params)
            self.count = params["count"]
            if "users" in params:
                self.users = _names(params["users"])
                continue
            assert self.users is not None
            for user, names in params["leaves"].items():
                self.users[user] = self.users[user] - set(names)
            for user, names in (_names(params["joins"]) or {}).items():
                self.users[user] = self.users.get(user, set()) | names
            self.users = {user: names for user, names in self.users.items() if names}
        return self

    @property
    def sizes(self) -> dict[str, int] | None:
        self.read()
        return None if self.users is None else {user: len(names) for user, names in self.users.items()}

    async def until(self, sizes: dict[str, int] | None) -> None:
        await eventually(lambda: self.sizes == sizes, f"{sizes}; there is {self.sizes}")


def _names(users: Any) -> dict[str, set[str]] | None:
    return None if users is None else {user: set(found["connections"]) for user, found in users.items()}


async def watch(wire: Wire, key: str = "1", **more: Any) -> Watcher:
    return Watcher(wire, (await wire.call("lm.subscribe", {"actor": FOYER, "key": key, **more}))["presence"])


@override_settings(LIGHTMOON=QUICK)
async def test_users_with_their_connections_come_and_go(node: Callable[[], Any]) -> None:
    ada, cookie, _ = await browser("ada")
    ada.email = "ada@example.com"
    await sync_to_async(ada.save)()
    key = str(ada.pk)
    async with Wire() as first:
        watcher = await watch(first)
        assert (watcher.sizes, watcher.count) == ({"": 1}, {"users": 0, "anonymous": 1, "connections": 1})
        async with Wire(headers=(OWN, cookie)) as one, Wire(headers=(OWN, cookie)) as two:
            found = await one.call("lm.subscribe", [FOYER, "1"])
            assert found["presence"]["users"][key]["info"] == {"username": "ada", "email": "ada@example.com"}
            await watcher.until({"": 1, key: 1})
            await two.call("lm.subscribe", [FOYER, "1"])
            await watcher.until({"": 1, key: 2})
            assert watcher.count == {"users": 1, "anonymous": 1, "connections": 3}
            assert await one.call(f"{FOYER}.visitors", ["1"]) == {"": 1, key: 2}
            assert "session-" not in str(first.frames + watcher.told), "nobody learns what a session is called"
            await two.call("lm.unsubscribe", [FOYER, "1"])
            await watcher.until({"": 1, key: 1})
        await watcher.until({"": 1})
        log = await first.call(f"{FOYER}.visits", ["1"])
        assert log == ["+AnonymousUser", "+ada", "+ada", "-ada", "-ada"]


@override_settings(LIGHTMOON=PATIENT)
async def test_a_page_that_is_loaded_again_neither_leaves_nor_joins(node: Callable[[], Any]) -> None:
    """Its new connection takes the place of the old one, in one and the same diff."""
    ada, cookie, _ = await browser("ada")
    key = str(ada.pk)
    async with Wire() as first:
        watcher = await watch(first)

        def about_her() -> list[tuple[bool, bool]]:
            told = watcher.read().told
            return [
                (key in one["joins"], key in one["leaves"]) for one in told if key in {*one["joins"], *one["leaves"]}
            ]

        for number in range(1, 4):
            async with Wire(headers=(OWN, cookie)) as page:
                await page.call("lm.subscribe", [FOYER, "1"])
                await eventually(lambda number=number: len(about_her()) == number, "a diff")
                assert watcher.sizes == {"": 1, key: 1}
        assert about_her() == [(True, False), (True, True), (True, True)]


@override_settings(LIGHTMOON=PATIENT)
async def test_an_actor_that_is_replaced_in_memory_keeps_its_visitors(node: Callable[[], Any]) -> None:
    """Streams are reset and joined again; who comes back was never away."""
    ada, cookie, _ = await browser("ada")
    key = str(ada.pk)
    async with Wire() as first, Wire(headers=(OWN, cookie)) as page:
        await page.call("lm.subscribe", [FOYER, "1"])
        await watch(first)
        activation = node().find(Address(FOYER, "1"))
        node().catalog.deactivate(activation)
        for wire in (first, page):
            await wire.notified("lm.reset")
        watcher = await watch(first)
        assert watcher.sizes == {"": 1, key: 1}
        await page.call("lm.subscribe", [FOYER, "1"])
        assert await page.call(f"{FOYER}.visitors", ["1"]) == {"": 1, key: 1}
        assert watcher.read().told == []


@override_settings(LIGHTMOON={**QUICK, "PRESENCE_GRACE": 0.3})
async def test_who_does_not_come_back_to_an_actor_that_is_replaced_has_left(node: Callable[[], Any]) -> None:
    async with Wire() as first, Wire() as other:
        for wire in (first, other):
            await wire.call("lm.subscribe", [FOYER, "1"])
        node().catalog.deactivate(node().find(Address(FOYER, "1")))
        await first.notified("lm.reset")
        watcher = await watch(first)
        assert watcher.sizes == {"": 2}
        await watcher.until({"": 1})


@override_settings(LIGHTMOON={**QUICK, "PRESENCE_INTERVAL": 0.6})
async def test_many_who_come_at_once_are_told_in_few_frames(node: Callable[[], Any]) -> None:
    """One frame for everybody and interval, not one for each and each."""
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire()) for _ in range(60)]
        watcher = await watch(wires[0])
        for wire in wires[1:]:
            await wire.call("lm.subscribe", [FOYER, "1"])
        await watcher.until({"": 60})
        assert len(watcher.told) <= 3
        moments = []
        for size in (59, 58):
            await wires[size].call("lm.unsubscribe", [FOYER, "1"])
            await watcher.until({"": size})
            moments.append(time.monotonic())
        assert moments[1] - moments[0] > 0.3  # the first one may have been told late


@override_settings(LIGHTMOON={**QUICK, "PRESENCE_LIMIT": 10})
async def test_of_a_crowd_only_numbers_are_told(node: Callable[[], Any]) -> None:
    """What n connections cost doesn't grow with n times n; when enough have gone they are listed again."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(Wire())
        watcher = await watch(first)
        others = []
        for _ in range(15):
            others.append(await stack.enter_async_context(Wire()))
            await others[-1].call("lm.subscribe", [FOYER, "1"])
        await eventually(lambda: watcher.read().count["connections"] == 16, "all of them")
        assert watcher.sizes is None
        late = await others[0].call("lm.subscribe", [FOYER, "1"])
        assert (late["presence"]["users"], late["presence"]["count"]["anonymous"]) == (None, 16)
        for wire in others[:7]:
            await wire.call("lm.unsubscribe", [FOYER, "1"])
        await eventually(lambda: watcher.read().count["connections"] == 9, "those who stay")
        assert watcher.sizes is None, "at the limit it must not go to and fro"
        for wire in others[7:9]:
            await wire.call("lm.unsubscribe", [FOYER, "1"])
        await watcher.until({"": 7})


@override_settings(LIGHTMOON=QUICK, REST_FRAMEWORK=BY_NAME)
async def test_who_logs_in_is_there_as_somebody_else(node: Callable[[], Any]) -> None:
    ada = await sync_to_async(make_user)("ada")
    async with Wire(headers=()) as wire:
        first = await wire.call("lm.subscribe", [FOYER, "1"])
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        assert (await wire.notified("lm.reset"))["reason"] == "another user"
        watcher = await watch(wire, since={"epoch": first["epoch"], "seq": first["seq"]})
        assert watcher.sizes == {str(ada.pk): 1}


async def test_actors_that_do_not_ask_for_it_know_nobody(node: Callable[[], Any]) -> None:
    async with Wire() as wire:
        assert "presence" not in await wire.call("lm.subscribe", [DESK, "1"])
        assert node().presences.seen(Address(DESK, "1")) == {}


@override_settings(LIGHTMOON=QUICK)
async def test_nothing_is_kept_of_who_has_gone(node: Callable[[], Any]) -> None:
    async with Wire() as wire:
        await wire.call("lm.subscribe", [FOYER, "1"])
        await wire.call("lm.unsubscribe", [FOYER, "1"])
        await eventually(lambda: not node().presences._all, "an empty list")


def _metas(users: Any) -> list[Any]:
    return [one.get("meta") for found in users.values() for one in found["connections"].values()]


@override_settings(LIGHTMOON=QUICK)
async def test_what_a_client_says_of_its_connection_is_shown_until_it_says_something_else(
    node: Callable[[], Any],
) -> None:
    """A change is told as a join of a connection that is known: no subscription, no turn, no other name."""
    async with Wire() as first, Wire() as other:
        watcher = await watch(first)
        found = await other.call("lm.subscribe", {"actor": FOYER, "key": "1", "meta": {"device": "phone"}})
        assert _metas(found["presence"]["users"]) == [None, {"device": "phone"}]
        await watcher.until({"": 2})
        assert {"device": "phone"} in _metas(watcher.told[-1]["joins"])
        assert await first.call(f"{FOYER}.devices", ["1"]) == [None, {"device": "phone"}]
        name = list(watcher.told[-1]["joins"][""]["connections"])[-1]

        await other.call("lm.present", {"actor": FOYER, "key": "1", "meta": {"device": "phone", "typing": True}})
        await other.call("lm.present", {"actor": FOYER, "key": "1", "meta": {"device": "desk"}})
        await eventually(lambda: {"device": "desk"} in _metas(watcher.read().told[-1]["joins"]), "the change")
        assert (list(watcher.told[-1]["joins"][""]["connections"]), watcher.told[-1]["leaves"]) == ([name], {})
        assert watcher.sizes == {"": 2}
        assert await first.call(f"{FOYER}.devices", ["1"]) == [None, {"device": "desk"}]
        assert await first.call(f"{FOYER}.visits", ["1"]) == ["+AnonymousUser", "+AnonymousUser"]

        again = await other.call("lm.subscribe", [FOYER, "1"])
        assert _metas(again["presence"]["users"]) == [None, {"device": "desk"}], "who says nothing new is as before"
        await other.call("lm.subscribe", {"actor": FOYER, "key": "1", "meta": {}})
        await eventually(lambda: _metas(watcher.read().told[-1]["joins"]) == [None], "the end of it")


@override_settings(LIGHTMOON={**QUICK, "PRESENCE_INTERVAL": 60})
async def test_who_leaves_before_a_change_was_told_is_told_as_gone(node: Callable[[], Any]) -> None:
    async with Wire() as first, Wire() as other:
        watcher = await watch(first)
        await other.call("lm.subscribe", [FOYER, "1"])
        await watcher.until({"": 2})
        presence = node().presences._all[Address(FOYER, "1")]
        await other.call("lm.present", [FOYER, "1", {"typing": True}])
        await other.call("lm.unsubscribe", [FOYER, "1"])
        await eventually(lambda: len(presence._members) == 1, "the end of the grace")
        presence._told_at = float("-inf")
        presence._timer = None
        presence._tick()
        await watcher.until({"": 1})
        assert watcher.told[-1]["joins"] == {}


@override_settings(LIGHTMOON={**QUICK, "PRESENCE_META_BYTES": 64})
@pytest.mark.parametrize(
    "meta", [{"device": "x" * 60}, ["phone"], "phone", 7, {"a": "\x00"}, {"a": 2**60}, {"a": [[[]]] * 40}]
)
async def test_what_is_no_small_object_is_not_taken(node: Callable[[], Any], meta: Any) -> None:
    async with Wire() as wire:
        assert (await wire.error("lm.subscribe", {"actor": FOYER, "key": "1", "meta": meta}))["code"] == -32602
        await wire.call("lm.subscribe", {"actor": FOYER, "key": "1", "meta": {"a": 1}})
        assert (await wire.error("lm.present", [FOYER, "1", meta]))["code"] == -32602
        assert await wire.call(f"{FOYER}.devices", ["1"]) == [{"a": 1}]


async def test_a_connection_is_described_where_it_is_seen_alone(node: Callable[[], Any]) -> None:
    async with Wire() as wire:
        assert (await wire.error("lm.present", [FOYER, "1", {}]))["data"]["type"] == "conflict"
        for method in ("lm.subscribe", "lm.present"):
            found = await wire.error(method, {"actor": DESK, "key": "1", "meta": {"a": 1}})
            assert (found["code"], found["data"]["path"]) == (-32602, "$.meta")


@override_settings(LIGHTMOON=QUICK)
async def test_what_is_said_while_a_stream_is_joined_is_shown(node: Callable[[], Any]) -> None:
    async with Wire() as wire:
        joined = wire.ask("lm.subscribe", {"actor": FOYER, "key": "1", "meta": {"n": 1}})
        said = wire.ask("lm.present", [FOYER, "1", {"n": 2}])
        await wire.answer(joined)
        await wire.answer(said)
        assert await wire.call(f"{FOYER}.devices", ["1"]) == [{"n": 2}]


@override_settings(LIGHTMOON={**PATIENT, "PRESENCE_LIMIT": 5, "PRESENCE_INTERVAL": 0.2})
async def test_who_was_told_numbers_alone_is_told_the_list_when_there_is_one(node: Callable[[], Any]) -> None:
    """Also when a newcomer was shown a list, or a crowd, between two frames."""
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire()) for _ in range(7)]
        watcher = await watch(wires[0])
        for wire in wires[1:6]:
            await wire.call("lm.subscribe", [FOYER, "1"])
        await eventually(lambda: watcher.read().users is None, "a crowd")
        presence = node().presences._all[Address(FOYER, "1")]
        for id in list(presence._members)[1:]:
            presence._remove(presence._members[id])
        late = await wires[6].call("lm.subscribe", [FOYER, "1"])
        assert late["presence"]["users"] is not None
        await watcher.until({"": 2})
