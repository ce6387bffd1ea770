"""Rights and logins that end while a client is there."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session as DjangoSession
from django.db import OperationalError, transaction
from django.test import override_settings
from django.utils import timezone

from lightmoon_django import access
from lightmoon_django.actor import registry
from lightmoon_django.gateway import credentials, users
from lightmoon_django.gateway import registry as live
from tests.gateway import exchange, people
from tests.gateway.actors import Club, Desk, Lot, Member, Office
from tests.gateway.board import Board
from tests.gateway.people import BY_NAME, browser, make_user
from tests.gateway.wire import OWN, Wire, eventually

DESK, OFFICE, CLUB, LOT = (registry.name_of(cls) for cls in (Desk, Office, Club, Lot))
FORBIDDEN = {"actor": OFFICE, "key": "1", "reason": "forbidden"}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def tokens() -> Iterator[None]:
    yield
    people.revoked.clear()


async def _put_out(wire: Wire, reason: str) -> None:
    """The client hears that it is nobody any more, and that its stream is over; and it is."""
    assert await wire.notified("lm.expired") == {"reason": reason}
    assert await wire.notified("lm.reset") == FORBIDDEN
    assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003


@pytest.mark.parametrize("how", ["deleted", "expired"])
async def test_a_django_session_that_ends_elsewhere_is_noticed(settle_board: Callable[..., Board], how: str) -> None:
    """B60: no signal tells of it; within `PERMISSION_TTL`."""
    settle_board(PERMISSION_TTL=0.05)
    _, cookie, key = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [OFFICE, "1"])
        rows = DjangoSession.objects.filter(session_key=key)
        if how == "deleted":
            await rows.adelete()
        else:
            await rows.aupdate(expire_date=timezone.now())
        await _put_out(wire, "session")


async def test_who_only_calls_is_looked_at_too(settle_board: Callable[..., Board]) -> None:
    """B60: without a subscription."""
    settle_board(PERMISSION_TTL=0.05)
    user, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire:
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"
        await type(user).objects.filter(pk=user.pk).aupdate(is_active=False)
        assert await wire.notified("lm.expired") == {"reason": "user"}
        assert (await wire.error(f"{DESK}.private", ["1"]))["code"] == 4003


@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_revoked_token_is_noticed(settle_board: Callable[..., Board]) -> None:
    """B60: within `CREDENTIAL_TTL`; another one makes the same connection its user's again."""
    settle_board(PERMISSION_TTL=0.05, CREDENTIAL_TTL=0.05)
    await sync_to_async(make_user)("ada")
    async with Wire(headers=()) as wire:
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        await wire.call("lm.subscribe", [OFFICE, "1"])
        people.revoked.add("ada")
        await _put_out(wire, "token")
        people.revoked.clear()
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        assert await wire.call(f"{DESK}.private", ["1"]) == "in"


@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_revoked_token_is_noticed_at_once_where_that_is_said(board: Board) -> None:
    """B60: `access.changed` doesn't wait for `CREDENTIAL_TTL`."""
    user = await sync_to_async(make_user)("ada")
    async with Wire(headers=()) as wire:
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        await wire.call("lm.subscribe", [OFFICE, "1"])
        people.revoked.add("ada")
        await sync_to_async(access.changed)(user)
        await _put_out(wire, "token")


@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_token_that_says_when_it_ends_does(settle_board: Callable[..., Board]) -> None:
    """`lm.hello` tells the client how long it has; one that shows another in time stays."""
    settle_board(PERMISSION_TTL=0.05)
    await sync_to_async(make_user)("ada")
    end = time.time() + 0.8
    async with Wire(headers=()) as late, Wire(headers=()) as prompt:
        for wire in (late, prompt):
            found = await wire.call("lm.hello", {"protocol": 1, "token": f"Name ada {end}"})
            assert 0 < found["expires"] <= 0.8
            await wire.call("lm.subscribe", [OFFICE, "1"])
        found = await prompt.call("lm.hello", {"protocol": 1, "token": f"Name ada {end + 60}"})
        assert found["expires"] > 60
        assert late.frames == []
        await _put_out(late, "token")
        assert await prompt.call(f"{DESK}.private", ["1"]) == "in"
        assert prompt.frames == []


async def test_a_change_that_only_the_project_knows_is_judged_at_once(board: Board, members: type[Member]) -> None:
    """B60: after the transaction, and not at all if that is rolled back; one user's, or anybody's."""
    user, cookie, _ = await browser("ada")

    def change(whom: Any, *, undo: bool = False) -> None:
        with transaction.atomic():
            access.changed(whom)
            members.allowed = undo
            transaction.set_rollback(undo)

    async with Wire(headers=(OWN, cookie)) as wire, Wire() as anonymous:
        for one in (wire, anonymous):
            await one.call("lm.subscribe", [CLUB, "1"])
        await sync_to_async(change)(user, undo=True)
        await sync_to_async(change)(user)
        assert (await wire.notified("lm.reset"))["reason"] == "forbidden"
        assert anonymous.frames == []
        await sync_to_async(change)(None)
        assert (await anonymous.notified("lm.reset"))["reason"] == "forbidden"


async def test_a_change_that_is_known_waits_for_no_other_judgement(
    settle_board: Callable[..., Board], members: type[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60: one whose permission takes its time, or who follows very much, holds up nobody's withdrawal."""
    settle_board(PERMISSION_TTL=0.05)
    waits, goes_on = threading.Event(), threading.Event()

    def has_permission(self: Any, request: Any, view: Any) -> bool:
        if view.kwargs["key"] == "slow" and not members.allowed:
            waits.set()
            goes_on.wait(10)
        return members.allowed

    monkeypatch.setattr(Member, "has_permission", has_permission)
    user, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN, cookie)) as wire, Wire() as slow:
        await slow.call("lm.subscribe", [CLUB, "slow"])
        await wire.call("lm.subscribe", [CLUB, "1"])
        members.allowed = False
        try:
            await asyncio.to_thread(waits.wait, 10)
            await sync_to_async(access.changed)(user)
            assert (await wire.notified("lm.reset"))["reason"] == "forbidden"
            assert slow.frames == []
        finally:
            goes_on.set()


async def test_a_change_is_not_forgotten_when_the_database_is_away(
    settle_board: Callable[..., Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B60, B35: what somebody sees of an actor is judged as soon as that can be done."""
    settle_board(PERMISSION_TTL=0.05)
    user, cookie, _ = await browser("ada")
    reload = users.reload

    def away(found: Any) -> Any:
        monkeypatch.setattr(users, "reload", reload)
        raise OperationalError("The server has gone away.")

    async with Wire(headers=(OWN, cookie)) as wire:
        await wire.call("lm.subscribe", [LOT, "1"])
        monkeypatch.setattr(users, "reload", away)
        await sync_to_async(access.changed)(user)
        assert (await wire.notified("lm.reset"))["reason"] == "access changed"


async def test_a_session_over_http_ends_with_its_login(board: Board) -> None:
    """B60: its requests say anew who one is, so it is gone for all of them."""
    user, cookie, _ = await browser("ada")
    csrf = (b"x-csrftoken", b"a" * 32), (cookie[0], cookie[1] + b"; csrftoken=" + b"a" * 32)
    token = (await exchange.hello(*csrf))["session"]
    await exchange.call(token, "lm.subscribe", [OFFICE, "1"], *csrf)
    events = await exchange.Events(token, cookie).opened()
    user.is_active = False
    await sync_to_async(user.save)()
    await eventually(events.task.done, "the end of the stream")
    assert live.sessions() == ()
    assert (await exchange.poll(token, None, cookie)).status == 410


@override_settings(SESSION_ENGINE="django.contrib.sessions.backends.cache")
async def test_sessions_of_other_engines_are_looked_at_one_by_one(transactional_db: None) -> None:
    from importlib import import_module

    store = import_module("django.contrib.sessions.backends.cache").SessionStore()
    store["_auth_user_id"] = "1"
    await sync_to_async(store.save)()
    key = store.session_key
    assert credentials._standing({key, "unknown"}) == {key}
    await sync_to_async(store.flush)()
    assert not credentials._standing({key})


class Knox:
    """A token as an app of another project keeps it."""

    expiry = timezone.now()


@pytest.mark.parametrize(
    ("auth", "known"),
    [
        (Knox(), True),
        ({"exp": 1.0}, True),
        ({"exp": "x"}, False),
        ({"exp": True}, False),
        ("text", False),
        (None, False),
    ],
)
def test_what_a_token_says_of_its_end(auth: Any, known: bool) -> None:
    assert (credentials.expiry_of(auth) is not None) is known


@pytest.mark.parametrize("anonymous", [True, False])
@pytest.mark.parametrize("method", ["lm.subscribe", f"{DESK}.members"])
async def test_a_right_that_ends_while_it_is_judged_is_not_granted(
    board: Board, members: type[Member], monkeypatch: pytest.MonkeyPatch, anonymous: bool, method: str
) -> None:
    """B60: the sweep of that moment finds nothing to withdraw, and the next one is `PERMISSION_TTL` away."""
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def has_permission(self: Any, request: Any, view: Any) -> bool:
        allowed = members.allowed  # as the database said when it was asked
        waits.set()
        await goes_on.wait()
        return allowed

    monkeypatch.setattr(Member, "has_permission", has_permission)
    user, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN,) if anonymous else (OWN, cookie)) as wire:
        asked = wire.ask(method, [CLUB, "1"] if method == "lm.subscribe" else ["1"])
        await waits.wait()
        members.allowed = False
        (session,) = live.sessions()
        voided = session.voided
        await sync_to_async(access.changed)(None if anonymous else user)
        await eventually(lambda: session.voided > voided, "the change is known")
        goes_on.set()
        assert (await wire.answer(asked))["error"]["code"] == 4003
        assert board.posted == []


@pytest.mark.parametrize("anonymous", [True, False])
async def test_what_was_judged_of_who_only_calls_is_forgotten_too(
    board: Board, members: type[Member], anonymous: bool
) -> None:
    """B60: `access.changed` counts for anonymous clients as well."""
    _, cookie, _ = await browser("ada")
    async with Wire(headers=(OWN,) if anonymous else (OWN, cookie)) as wire:
        assert await wire.call(f"{DESK}.members", ["1"]) == "in"
        (session,) = live.sessions()
        voided, members.allowed = session.voided, False
        await sync_to_async(access.changed)(None)
        await eventually(lambda: session.voided > voided, "the change is known")
        assert (await wire.error(f"{DESK}.members", ["1"]))["code"] == 4003
