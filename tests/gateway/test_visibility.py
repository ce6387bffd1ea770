"""Views that differ from user to user."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.test import override_settings

from lightmoon_django import access
from lightmoon_django.actor import registry
from lightmoon_django.actor.view import difference
from lightmoon_django.gateway import credentials
from lightmoon_django.identity import Address, Position
from lightmoon_django.runtime import audience
from tests.gateway.actors import Lot, Table, TableState
from tests.gateway.people import browser
from tests.gateway.wire import OWN, Wire

TABLE, LOT = registry.name_of(Table), registry.name_of(Lot)

pytestmark = pytest.mark.django_db(transaction=True)


class Mirror:
    """A client's copy of what it sees."""

    def __init__(self, wire: Wire, actor: str) -> None:
        self.wire, self.actor = wire, actor
        self.state: dict[str, Any] = {}
        self.epoch, self.seq = "", 0
        self.patches: list[Any] = []  # of the last `read`

    async def join(self, **more: Any) -> Any:
        found = await self.wire.call("lm.subscribe", {"actor": self.actor, "key": "1", **more})
        self.state, self.epoch, self.seq = found["state"], found["epoch"], found["seq"]
        return found

    async def read(self) -> dict[str, Any]:
        """The state after everything that was sent so far; each position came once, whatever was at it."""
        await self.wire.call("lm.ping")
        self.patches = []
        frames = [one for one in self.wire.frames if one.get("params", {}).get("actor") == self.actor]
        self.wire.frames.clear()
        for one in frames:
            params = one["params"]
            assert (params["epoch"], params["seq"]) == (self.epoch, self.seq + 1)
            self.seq += 1
            if one["method"] == "lm.state":
                self.patches.append((params["set"], params["unset"]))
                self.state = {k: v for k, v in {**self.state, **params["set"]}.items() if k not in params["unset"]}
        return self.state


async def _staff(name: str) -> tuple[Any, Any]:
    user, cookie, _ = await browser(name)
    user.is_staff = True
    await sync_to_async(user.save)()
    return user, cookie


async def test_each_sees_the_view_that_is_named_for_it(node: Callable[[], Any]) -> None:
    """What only some see leaves `lm.skip` to the others, so that positions are everybody's."""
    _, badge = await _staff("eve")
    async with Wire(headers=(OWN, badge)) as one, Wire() as two:
        staff, guest = Mirror(one, LOT), Mirror(two, LOT)
        await staff.join()
        await guest.join()
        assert (staff.state, guest.state) == ({"title": "Lamp", "reserve": 0}, {"title": "Lamp"})
        await one.call(f"{LOT}.alter", {"key": "1", "reserve": 900})
        assert (await staff.read(), await guest.read()) == ({"title": "Lamp", "reserve": 900}, {"title": "Lamp"})
        assert (staff.patches, guest.patches) == ([({"reserve": 900}, [])], [])
        await one.call(f"{LOT}.alter", {"key": "1", "title": "Vase"})
        assert (await staff.read(), await guest.read()) == ({"title": "Vase", "reserve": 900}, {"title": "Vase"})
        assert staff.seq == guest.seq == 2
        await one.call(f"{LOT}.alter", {"key": "1"})
        await staff.read()
        assert staff.seq == 2, "a turn that changed nothing has no position"


async def test_what_one_sees_may_depend_on_the_actor(node: Callable[[], Any]) -> None:
    """Who sits down sees its cards from then on, and who gets up sees them no more."""
    _, first, _ = await browser("ada")
    _, second, _ = await browser("bob")
    async with Wire(headers=(OWN, first)) as one, Wire(headers=(OWN, second)) as two, Wire() as three:
        mirrors = ada, bob, guest = [Mirror(wire, TABLE) for wire in (one, two, three)]
        for mirror in mirrors:
            await mirror.join()
        await one.call(f"{TABLE}.deal", ["1", "ada", ["A1"]])
        await one.call(f"{TABLE}.deal", ["1", "bob", ["B1"]])
        await one.call(f"{TABLE}.bet", ["1", 5])
        assert [(await mirror.read())["hand"] for mirror in mirrors] == [["A1"], ["B1"], []]
        assert {mirror.state["pot"] for mirror in mirrors} == {5}
        await one.call(f"{TABLE}.fold", ["1", "ada"])
        assert [(await mirror.read())["hand"] for mirror in mirrors] == [[], ["B1"], []]
        assert ada.patches == [({"hand": []}, [])]
        assert bob.patches == guest.patches == []


async def test_a_view_is_made_once_for_all_who_see_the_same(
    node: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are; and what has changed of it is encoded once."""
    compared: list[Any] = []
    monkeypatch.setattr(audience, "difference", lambda *states: compared.append(states) or difference(*states))
    _, cookie, _ = await browser("ada")
    async with contextlib.AsyncExitStack() as stack:
        player = await stack.enter_async_context(Wire(headers=(OWN, cookie)))
        wires = [player, *[await stack.enter_async_context(Wire()) for _ in range(20)]]
        await player.call(f"{TABLE}.deal", ["1", "ada", ["A1"]])
        mirrors = [Mirror(wire, TABLE) for wire in wires]
        for mirror in mirrors:
            await mirror.join()
        TableState.made.clear()
        await player.call(f"{TABLE}.bet", ["1"])
        assert sorted(map(str, TableState.made)) == ["None", "None", "ada", "ada"], "before and after, for each kind"
        assert len(compared) == 2
        assert [(await mirror.read())["pot"] for mirror in mirrors] == [1] * 21


async def test_who_comes_back_gets_the_events_and_what_it_sees_now(node: Callable[[], Any]) -> None:
    """B56: patches for others are not kept; nor is what one saw before."""
    _, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as one, Wire() as two:
        ada, guest = Mirror(one, TABLE), Mirror(two, TABLE)
        for mirror in (ada, guest):
            await mirror.join()
        since = {"epoch": ada.epoch, "seq": ada.seq}
        await two.call("lm.unsubscribe", [TABLE, "1"])
        await one.call(f"{TABLE}.deal", ["1", "ada", ["A1"]])
        await one.call(f"{TABLE}.bet", ["1", 3])
        for mirror, hand in ((ada, ["A1"]), (guest, [])):
            found = await mirror.join(since=since)
            assert (found["recovered"], found["state"]) == (True, {"pot": 3, "hand": hand})
            assert [one.get("name") for one in found["events"]] == [None, None, "betted"]
            assert "A1" not in str(found["events"])


@pytest.mark.parametrize("how", ["saved", "told", "known to the project alone"])
async def test_a_user_who_may_see_more_joins_anew(
    node: Callable[[], Any], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60: at once, also when only the project knows what has changed."""
    user, cookie, _ = await browser("eve")
    async with Wire(headers=(OWN, cookie)) as wire:
        mirror = Mirror(wire, LOT)
        await mirror.join()
        assert "reserve" not in mirror.state
        if how == "saved":
            user.is_staff = True
            await sync_to_async(user.save)()
        elif how != "told":
            monkeypatch.setattr(Lot, "insiders", {"eve"})
            await sync_to_async(access.changed)()
        else:
            await type(user).objects.filter(pk=user.pk).aupdate(is_staff=True)
            await sync_to_async(access.changed)(user)
        assert (await wire.notified("lm.reset"))["reason"] == "access changed"
        found = await mirror.join(since={"epoch": mirror.epoch, "seq": mirror.seq})
        assert found["state"] == {"title": "Lamp", "reserve": 0}
        await wire.call("lm.ping")
        assert wire.frames == []


@override_settings(LIGHTMOON={"PERMISSION_TTL": 0.05})
async def test_a_user_who_may_see_less_joins_anew_though_the_database_was_away(
    node: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60: what is known to have changed is not forgotten with the pass that failed."""
    _, cookie, _ = await browser("eve")
    monkeypatch.setattr(Lot, "insiders", {"eve"})
    judge, failures = credentials.judge, [OperationalError("The database is away.")]

    def failing(claims: Any) -> Any:
        if Lot.insiders or not failures:
            return judge(claims)
        raise failures.pop()

    monkeypatch.setattr(credentials, "judge", failing)
    async with Wire(headers=(OWN, cookie)) as wire:
        mirror = Mirror(wire, LOT)
        await mirror.join()
        assert "reserve" in mirror.state
        monkeypatch.setattr(Lot, "insiders", set())
        await sync_to_async(access.changed)()
        assert (await wire.notified("lm.reset"))["reason"] == "access changed"
        assert failures == []
        assert "reserve" not in (await mirror.join())["state"]


async def test_a_view_that_can_not_be_made_ends_the_stream(node: Callable[[], Any]) -> None:
    """Nobody is left with a state that is not true; and nobody can join until it is mended."""
    async with Wire() as wire:
        mirror = Mirror(wire, LOT)
        await mirror.join()
        await wire.call(f"{LOT}.alter", {"key": "1", "broken": True})
        assert (await wire.notified("lm.reset"))["reason"] == "the view failed"
        assert node().find(Address(LOT, "1")).audience._viewers == {}
        assert (await wire.error("lm.subscribe", [LOT, "1"]))["code"] == 5000
        await wire.call(f"{LOT}.alter", {"key": "1"})
        await mirror.join()


@pytest.mark.parametrize("again", [False, True])
async def test_who_can_not_be_told_what_it_sees_does_not_follow(
    node: Callable[[], Any], again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, so nothing is sent to it, and nobody would ever take it out. Others go on."""
    async with Wire() as one, Wire() as two:
        there, other = Mirror(one, TABLE), Mirror(two, TABLE)
        await there.join()
        found = await other.join()
        await two.call("lm.unsubscribe", [TABLE, "1"])
        with monkeypatch.context() as patch:
            patch.setattr(TableState, "get_hand", lambda *_: ["half of a surrogate: \ud800"])
            since = {"since": {"epoch": found["epoch"], "seq": found["seq"]}} if again else {}
            for wire in (two, one):
                assert (await wire.error("lm.subscribe", {"actor": TABLE, "key": "1", **since}))["code"] == 5000
        activation = node().find(Address(TABLE, "1"))
        assert len(activation.stream.subscribers) == len(activation.audience._viewers) == 1
        await two.call(f"{TABLE}.bet", ["1", 3])
        assert (await there.read())["pot"] == 3
        assert two.frames == []


async def test_who_has_left_is_asked_about_no_more(node: Callable[[], Any]) -> None:
    async with Wire() as wire:
        await wire.call("lm.subscribe", [LOT, "1"])
        await wire.call("lm.unsubscribe", [LOT, "1"])
        assert node().find(Address(LOT, "1")).audience._viewers == {}


async def test_another_node_is_not_given_skips_for_what_its_clients_would_have_seen(node: Callable[[], Any]) -> None:
    """What each saw is not in the history: a node that asks for it must join anew."""
    async with Wire() as wire:
        mirror = Mirror(wire, LOT)
        await mirror.join()
        await wire.call(f"{LOT}.alter", {"key": "1", "title": "Vase"})
        await mirror.read()
        address = Address(LOT, "1")
        assert node().missed(address, Position(mirror.epoch, mirror.seq)) == []
        assert node().missed(address, Position(mirror.epoch, mirror.seq - 1)) is None
