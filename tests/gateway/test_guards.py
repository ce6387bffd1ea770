"""Events that not every subscriber may see, and who may subscribe at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from lightmoon_django.actor import registry
from lightmoon_django.gateway import registry as live
from tests.gateway.actors import Member, Square, Staff, Ward
from tests.gateway.people import browser
from tests.gateway.wire import OWN, Wire, eventually

WARD, SQUARE = registry.name_of(Ward), registry.name_of(Square)

pytestmark = pytest.mark.django_db(transaction=True)


async def _people() -> tuple[Any, Any]:
    """The Cookie headers of a nurse and of a visitor."""
    nurse, badge, _ = await browser("nurse")
    nurse.is_staff = True
    await sync_to_async(nurse.save)()
    return badge, (await browser("visitor"))[1]


def _seen(frames: list[Any]) -> list[Any]:
    """What came of the stream: the number, and the event's name where one may be seen."""
    return [(one["params"]["seq"], one["params"].get("name")) for one in frames if "actor" in one.get("params", {})]


async def test_a_guarded_event_is_a_gap_in_nobodys_numbers(node: Callable[[], Any]) -> None:
    """B60: who may not see it gets `lm.skip` with its position; a permission class that fails is no grant."""
    badge, other = await _people()
    async with Wire(headers=(OWN, badge)) as nurse, Wire(headers=(OWN, other)) as visitor:
        for one in (nurse, visitor):
            await one.call("lm.subscribe", [WARD, "1"])
        await nurse.call(f"{WARD}.treat", ["1", "secret"])
        await visitor.call("lm.ping")
        assert _seen(nurse.frames) == [(1, "admitted"), (2, "diagnosed"), (3, None), (4, "admitted")]
        assert _seen(visitor.frames) == [(1, "admitted"), (2, None), (3, None), (4, "admitted")]
        assert [one["method"] for one in visitor.frames] == ["lm.event", "lm.skip", "lm.skip", "lm.event"]
        assert "secret" not in str(visitor.frames)


async def test_what_was_missed_is_judged_too(node: Callable[[], Any]) -> None:
    """B56: a position is given back, and nothing that was not to be seen."""
    badge, other = await _people()
    async with Wire(headers=(OWN, badge)) as nurse, Wire(headers=(OWN, other)) as visitor:
        first = await visitor.call("lm.subscribe", [WARD, "1"])
        since = {"epoch": first["epoch"], "seq": first["seq"]}
        await nurse.call(f"{WARD}.treat", ["1", "secret"])
        again = await visitor.call("lm.subscribe", [WARD, "1", since])
        assert (again["recovered"], again["seq"]) == (True, 4)
        assert [one.get("name") for one in again["events"]] == ["admitted", None, None, "admitted"]
        assert "secret" not in str(again)
        found = await nurse.call("lm.subscribe", [WARD, "1", since])
        assert [one.get("name") for one in found["events"]] == ["admitted", "diagnosed", None, "admitted"]


async def test_a_right_that_is_withdrawn_hides_what_comes_from_then_on(node: Callable[[], Any]) -> None:
    """B60: the subscription stays, its guarded events stop; and they come again with the right."""
    user, badge, _ = await browser("nurse")
    async with Wire(headers=(OWN, badge)) as nurse:
        await nurse.call("lm.subscribe", [WARD, "1"])
        for seq, is_staff in ((2, False), (6, True), (10, False)):
            user.is_staff = is_staff
            await sync_to_async(user.save)()
            hidden = {"logged"} if is_staff else {"logged", "diagnosed"}
            await eventually(lambda hidden=hidden: live.sessions()[0].streams()[0].hidden == hidden, "the judgement")
            await nurse.call(f"{WARD}.treat", ["1", "x"])
            names = dict(_seen(nurse.frames))
            assert names[seq] == ("diagnosed" if is_staff else None)
            assert names[seq + 2] == "admitted"


async def test_subscribing_has_permission_classes_of_its_own(node: Callable[[], Any]) -> None:
    """B60: here anybody may call, and only users may listen."""
    async with Wire() as anonymous:
        await anonymous.call(f"{WARD}.treat", ["1", "x"])
        assert (await anonymous.error("lm.subscribe", [WARD, "1"]))["code"] == 4003


async def test_who_is_put_out_while_its_events_are_judged_follows_nothing(
    node: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60: the stream itself was granted to somebody whom the session no longer is."""
    waits, goes_on = threading.Event(), threading.Event()

    def has_permission(self: Any, request: Any, view: Any) -> bool:
        waits.set()
        return goes_on.wait(10)

    monkeypatch.setattr(Staff, "has_permission", has_permission)
    badge, _ = await _people()
    async with Wire(headers=(OWN, badge)) as nurse:
        asked = nurse.ask("lm.subscribe", [WARD, "1"])
        await asyncio.to_thread(waits.wait, 10)
        live.sessions()[0].sign_out("user")
        goes_on.set()
        assert (await nurse.answer(asked))["error"]["code"] == 4003


async def test_who_is_put_out_sees_no_guarded_event_until_that_is_judged(
    node: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60: what was granted to the user is not granted to nobody, however long the judgement takes."""
    goes_on = threading.Event()

    def has_permission(self: Any, request: Any, view: Any) -> bool:
        return bool(request.user.is_staff) or not goes_on.wait(10)

    monkeypatch.setattr(Staff, "has_permission", has_permission)
    badge, _ = await _people()
    async with Wire(headers=(OWN, badge)) as nurse, Wire() as other:
        await nurse.call("lm.subscribe", [SQUARE, "1"])
        await other.call(f"{SQUARE}.watch", ["1", "bob"])
        assert await nurse.notified("lm.event")
        next(one for one in live.sessions() if one.authenticated).sign_out("user")
        try:
            await other.call(f"{SQUARE}.watch", ["1", "the secret"])
            await nurse.call("lm.ping")
            assert [one["method"] for one in nurse.frames] == ["lm.expired", "lm.skip"]
        finally:
            goes_on.set()


async def test_what_is_judged_of_several_events_is_of_one_user(
    node: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60: the user is found gone between two of them."""
    badge, _ = await _people()
    ends = False

    def has_permission(self: Any, request: Any, view: Any) -> bool:
        if ends:
            type(request.user).objects.filter(pk=request.user.pk).update(is_active=False)
        return bool(request.user.is_staff)

    async with Wire(headers=(OWN, badge)) as nurse:
        await nurse.call("lm.subscribe", [SQUARE, "1"])
        (session,) = live.sessions()
        (call,) = session.streams()
        assert call.hidden == set()
        monkeypatch.setattr(Staff, "has_permission", has_permission)
        monkeypatch.setattr(Member, "allowed", False)
        ends = True
        session.hub.sweep.examine([session], afresh=True)
        assert await nurse.notified("lm.expired") == {"reason": "user"}
        await eventually(lambda: call.hidden == {"suspected", "welcomed"}, "the judgement")
