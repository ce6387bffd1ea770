"""DRF's permission classes on messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from rest_framework.permissions import AllowAny, BasePermission, IsAdminUser, IsAuthenticated

from lightmoon_django.actor import registry
from lightmoon_django.errors import UsageError
from lightmoon_django.gateway import registry as live
from lightmoon_django.gateway.policy import GRANTED, Policy, judges_objects
from tests.app.models import Counter
from tests.gateway.actors import Awaited, ByObject, ByObjectAwaited, Desk, Member
from tests.gateway.board import Board
from tests.gateway.people import browser
from tests.gateway.wire import OWN, Wire

DESK = registry.name_of(Desk)


async def test_a_permission_class_runs_in_a_thread_and_is_remembered(wire: Wire, members: type[Member]) -> None:
    async with wire:
        for _ in range(5):
            assert await wire.call(f"{DESK}.members", ["1"]) == "in"
        assert members.asked == 1
        await wire.call(f"{DESK}.members", ["2"])
        assert members.asked == 2


async def test_a_judgement_is_made_again_after_its_time(
    settle_board: Callable[..., Board], members: type[Member]
) -> None:
    settle_board(PERMISSION_TTL=0.0)
    async with Wire() as wire:
        assert await wire.call(f"{DESK}.members", ["1"]) == "in"
        members.allowed = False
        error = await wire.error(f"{DESK}.members", ["1"])
        assert (error["code"], error["message"]) == (4003, "Members only.")


async def test_a_judgement_belongs_to_its_session(board: Board, members: type[Member]) -> None:
    async with Wire() as one, Wire() as other:
        await one.call(f"{DESK}.members", ["1"])
        members.allowed = False
        assert await one.call(f"{DESK}.members", ["1"]) == "in"
        assert (await other.error(f"{DESK}.members", ["1"]))["code"] == 4003


async def test_a_refused_call_never_reaches_its_actor(wire: Wire, board: Board) -> None:
    async with wire:
        assert (await wire.error(f"{DESK}.members", ["closed"]))["code"] == 4003
        assert (await wire.error(f"{DESK}.awaited", ["shut"]))["code"] == 4003
        assert board.posted == []


async def test_a_permission_may_be_judged_by_a_coroutine(wire: Wire) -> None:
    async with wire:
        assert await wire.call(f"{DESK}.awaited", ["open"]) == "in"


async def test_an_object_permission_without_a_row_is_a_refusal(wire: Wire) -> None:
    async with wire:
        assert (await wire.error(f"{DESK}.by_object", ["1"]))["code"] == 4003


async def test_a_coroutine_does_not_replace_the_judgement_of_the_object(wire: Wire) -> None:
    """B60: that there is no row is a refusal also where the rest is awaited."""
    async with wire:
        assert (await wire.error(f"{DESK}.awaited_object", ["open"]))["code"] == 4003


@pytest.mark.parametrize(
    "permission", [Awaited & AllowAny, Awaited | Member, ~(~Awaited), Member & (Awaited & AllowAny), ByObjectAwaited]
)
@pytest.mark.filterwarnings("ignore:coroutine")
async def test_a_coroutine_that_nobody_awaits_is_no_grant(board: Board, permission: Any) -> None:
    """B60: it is true whatever it would say."""
    async with Wire():
        (session,) = live.sessions()
        policy = Policy(registry.schema_of(Counter).messages["add"], (permission,))
        with pytest.raises(UsageError, match="has a permission class"):
            await policy.judge(session, "closed")


async def test_calls_behind_a_judgement_keep_their_order(wire: Wire, board: Board) -> None:
    async with wire:
        first = wire.ask(f"{DESK}.members", ["1"])
        second = wire.ask(f"{DESK}.add", ["1"])
        await wire.answer(first)
        await wire.answer(second)
        assert [call.message.name for call in board.posted] == ["members", "add"]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (IsAuthenticated, False),
        (ByObject, True),
        (IsAuthenticated & ByObject, True),
        (AllowAny | IsAdminUser, False),
        (~ByObject, True),
        (~Member, False),
    ],
)
def test_compositions_are_looked_into(permission: Any, expected: bool) -> None:
    assert judges_objects(permission()) is expected


class NamedAfterUser(BasePermission):
    """Judges the stored row."""

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return bool(obj.name == request.user.username and view.queryset.model is Counter and request.method == "POST")


@pytest.mark.django_db(transaction=True)
async def test_an_object_permission_sees_the_stored_row(settle_board: Callable[..., Board]) -> None:
    _, cookie, _ = await browser("ada")
    own = await sync_to_async(Counter.objects.create)(name="ada")
    foreign = await sync_to_async(Counter.objects.create)(name="bob")
    message = registry.schema_of(Counter).messages["add"]
    settle_board()
    async with Wire(headers=(OWN, cookie)):
        (session,) = live.sessions()
        policy = Policy(message, (NamedAfterUser,))
        assert await policy.judge(session, str(own.pk)) == GRANTED
        assert await policy.judge(session, str(foreign.pk)) != GRANTED
        assert await policy.judge(session, "999999") != GRANTED


def test_the_base_class_judges_no_objects() -> None:
    assert not judges_objects(BasePermission())


@pytest.mark.django_db(transaction=True)
async def test_who_is_put_out_while_a_call_is_judged_is_judged_as_nobody(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the call would run for somebody who was never asked about."""
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def has_permission(self: Any, request: Any, view: Any) -> bool:
        waits.set()
        await goes_on.wait()
        return bool(request.user.is_authenticated)

    monkeypatch.setattr(Awaited, "has_permission", has_permission)
    _, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        asked = wire.ask(f"{DESK}.awaited", ["1"])
        await waits.wait()
        live.sessions()[0].sign_out("user")
        goes_on.set()
        assert (await wire.answer(asked))["error"]["code"] == 4003
        assert board.ran("awaited") == 0
