"""Who a session is, and what happens to it when the user changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import logout
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.test import RequestFactory, override_settings

from lightmoon_django.actor import registry
from lightmoon_django.gateway import registry as live
from tests.gateway.actors import Club, Desk, Member, Office
from tests.gateway.board import Board
from tests.gateway.people import BY_NAME, browser, make_user
from tests.gateway.wire import OWN, Wire, eventually

DESK, OFFICE, CLUB = (registry.name_of(cls) for cls in (Desk, Office, Club))
FORBIDDEN = {"actor": OFFICE, "key": "1", "reason": "forbidden"}

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_call_carries_the_sessions_user(wire: Wire, board: Board) -> None:
    user, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call(f"{DESK}.add", ["1"])
        assert board.posted[0].user == user
        assert type(board.posted[0].user) is type(user)
        assert board.posted[0].caller == live.sessions()[0].id


@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_token_in_hello_proves_the_user(board: Board) -> None:
    user = await sync_to_async(make_user)("ada")
    async with Wire(headers=()) as wire:
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"
        assert board.posted[-1].user == user
        assert live.sessions()[0].auth == "token of ada"


@pytest.mark.parametrize("token", ["Name nobody", "Other ada", "", "Name", "x" * 10_000, "a\nb"])
@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_wrong_token_is_forbidden(board: Board, token: str) -> None:
    await sync_to_async(make_user)("ada")
    async with Wire(headers=()) as wire:
        assert (await wire.error("lm.hello", {"protocol": 1, "token": token}))["code"] == 4003
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003


@pytest.mark.parametrize("token", ["Basic \u2603", "Basic YTpi\r\nX: y"])
async def test_a_token_that_is_no_header_is_forbidden(board: Board, token: str) -> None:
    """The framework's own classes would fail with it, and the log would be full of tracebacks."""
    async with Wire(headers=()) as wire:
        assert (await wire.error("lm.hello", {"protocol": 1, "token": token}))["code"] == 4003


@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_session_stays_its_users(board: Board) -> None:
    _, cookie, _ = await browser("ada")
    await sync_to_async(make_user)("bob")
    async with Wire(headers=(OWN, cookie)) as wire:
        assert (await wire.error("lm.hello", {"protocol": 1, "token": "Name bob"}))["code"] == 4003
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        await wire.call(f"{DESK}.private", ["1"])
        assert board.posted[-1].user.username == "ada"


async def test_logging_out_ends_what_the_login_began(board: Board) -> None:
    """B60: at once, and another browser of the same user goes on."""
    from tests.gateway.people import cookie as as_cookie
    from tests.gateway.people import log_in

    user, cookie, key = await browser("ada")
    elsewhere = as_cookie(await sync_to_async(log_in)(user))
    async with Wire(headers=(OWN, cookie)) as wire, Wire(headers=(OWN, elsewhere)) as other:
        for one in (wire, other):
            await one.call("lm.subscribe", [OFFICE, "1"])
        await sync_to_async(_log_out)(user, key)
        assert await wire.notified("lm.reset") == FORBIDDEN
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003
        assert await other.call(f"{DESK}.private", ["1"]) == "in"
        board.publish(OFFICE, "1", 1)
        assert await other.notified("lm.event")
        assert await wire.notified("lm.expired") == {"reason": "session"}
        assert wire.frames == []


def _log_out(user: Any, key: str) -> None:
    from django.contrib.sessions.backends.db import SessionStore

    request = RequestFactory().get("/")
    request.session = SessionStore(key)
    request.user = user
    logout(request)


@pytest.mark.parametrize("change", ["deactivated", "deleted", "new password"])
async def test_a_user_who_may_no_longer_come_in_is_put_out(board: Board, change: str) -> None:
    """B60: at once, by the user model's signals."""
    user, cookie, _ = await browser("ada")

    def apply() -> None:
        if change == "deactivated":
            user.is_active = False
            user.save()
        elif change == "deleted":
            user.delete()
        else:
            user.set_password("another")
            user.save()

    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [OFFICE, "1"])
        await sync_to_async(apply)()
        assert await wire.notified("lm.reset") == FORBIDDEN
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003


async def test_a_change_that_another_process_made_is_seen(settle_board: Callable[..., Board]) -> None:
    """B60: without a signal, within `PERMISSION_TTL`."""
    settle_board(PERMISSION_TTL=0.05)
    user, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [OFFICE, "1"])
        await sync_to_async(type(user).objects.filter(pk=user.pk).update)(is_active=False)
        assert await wire.notified("lm.reset") == FORBIDDEN


async def test_an_ordinary_save_of_the_user_changes_nothing(board: Board) -> None:
    user, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [OFFICE, "1"])
        user.first_name = "Ada"
        await sync_to_async(user.save)()
        await eventually(lambda: live.sessions()[0].user.first_name == "Ada", "the fresh user")
        board.publish(OFFICE, "1", 1)
        assert await wire.notified("lm.event")
        assert wire.frames == []


def _permission() -> Permission:
    kind, _ = ContentType.objects.get_or_create(app_label="club", model="room")
    return Permission.objects.create(content_type=kind, codename="enter", name="Can enter")


@pytest.mark.parametrize("via", ["group", "permission", "permission of a group"])
async def test_a_change_of_groups_or_permissions_is_judged_at_once(
    board: Board, members: type[Member], via: str
) -> None:
    """B60."""
    user, cookie, _ = await browser("ada")
    group = await sync_to_async(Group.objects.create)(name="club")
    permission = await sync_to_async(_permission)()
    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [CLUB, "1"])
        members.allowed = False
        if via == "group":
            await sync_to_async(user.groups.add)(group)
        elif via == "permission":
            await sync_to_async(user.user_permissions.add)(permission)
        else:
            await sync_to_async(group.permissions.add)(permission)
        assert (await wire.notified("lm.reset"))["reason"] == "forbidden"


async def test_a_transaction_that_rolls_back_changes_nothing(board: Board) -> None:
    from django.db import transaction

    user, cookie, _ = await browser("ada")

    def attempt() -> None:
        with transaction.atomic():
            user.is_active = False
            user.save()
            transaction.set_rollback(True)

    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [OFFICE, "1"])
        await sync_to_async(attempt)()
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"
        assert wire.frames == []
