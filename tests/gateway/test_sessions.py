"""Sessions that outlive their WebSocket: kept for a while, resumed by token, bounded, and their user's alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from lightmoon_django.actor import registry
from lightmoon_django.gateway import registry as live
from lightmoon_django.gateway.hub import current
from lightmoon_django.gateway.limits import KEPT_ANSWERS
from lightmoon_django.gateway.session import Session
from lightmoon_django.identity import Address
from tests.gateway.actors import Club, Desk, Member
from tests.gateway.board import Board
from tests.gateway.people import BY_NAME, browser, make_user
from tests.gateway.wire import OWN, Wire, eventually

DESK, CLUB = registry.name_of(Desk), registry.name_of(Club)
BROKEN = 1006  # WebSocket close code of a connection that ended without a word


async def greet(wire: Wire, session: str | None = None, **more: Any) -> Any:
    return await wire.call("lm.hello", {"protocol": 1, **({} if session is None else {"session": session}), **more})


async def cut(wire: Wire) -> None:
    """The connection breaks, and the server has noticed."""
    await wire.disconnect(BROKEN)


async def test_a_session_goes_on_where_its_connection_broke(board: Board) -> None:
    """B56: subscriptions are still there, and what came meanwhile is delivered in order."""
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        await cut(wire)
    for seq in range(1, 4):
        board.publish(DESK, "1", seq)
    async with Wire() as again:
        hello = await greet(again, token)
        assert (hello["recovered"], hello["session"]) == (True, token)
        board.publish(DESK, "1", 4)
        assert [(await again.notified("lm.event"))["seq"] for _ in range(4)] == [1, 2, 3, 4]
        await again.call("lm.unsubscribe", [DESK, "1"])
        assert not board.subscribers[Address(DESK, "1")]
        assert len(live.sessions()) == 1


async def test_the_answer_to_hello_comes_before_what_waited(board: Board) -> None:
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        await cut(wire)
    board.publish(DESK, "1", 1)
    async with Wire() as again:
        again.ask("lm.hello", {"protocol": 1, "session": token}, id="hello")
        assert (await again.next())["id"] == "hello"
        assert (await again.next())["method"] == "lm.event"


async def test_a_call_in_flight_resolves_exactly_once(board: Board) -> None:
    """B57, B50: it ran on, its answer waited, and sent again it does not run again."""
    board.hold = True
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        wire.ask(f"{DESK}.add", ["1"], id="early")
        wire.ask(f"{DESK}.add", ["1"], id="late")
        await eventually(lambda: len(board.posted) == 2, "the calls")
        await cut(wire)
    board.hold = False
    board._next(Address(DESK, "1"))
    await eventually(lambda: not board._running, "the calls to run")
    async with Wire() as again:
        await greet(again, token)
        assert [(await again.answer(id))["result"] for id in ("early", "late")] == [1, 2]
        assert await again.call(f"{DESK}.add", ["1"], id="late") == 2
        assert (await again.error(f"{DESK}.add", ["1", 5], id="late"))["code"] == -32600
        assert board.ran("add") == 2


async def test_many_calls_in_flight_resolve_exactly_once_each(board: Board) -> None:
    """B57, B50: more than a session remembers otherwise. They are sent again before what waited has been read."""
    calls = [f"a{number}" for number in range(3 * KEPT_ANSWERS)]
    board.hold = True
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        for id in calls:
            wire.ask(f"{DESK}.add", ["1"], id=id)
        await eventually(lambda: len(board.posted) == len(calls), "the calls")
        await cut(wire)
    board.release()
    await eventually(lambda: not board._queues[Address(DESK, "1")] and not board._running, "the calls to run")
    async with Wire() as again:
        await greet(again, token)
        for id in calls:
            again.ask(f"{DESK}.add", ["1"], id=id)
        for _ in range(2):
            assert [(await again.answer(id))["result"] for id in calls] == list(range(1, len(calls) + 1))
        assert board.ran("add") == len(calls)


async def test_a_call_that_still_runs_answers_on_the_new_connection(board: Board) -> None:
    """B57."""
    board.hold = True
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        wire.ask(f"{DESK}.add", ["1"], id="a")
        await eventually(lambda: board.posted, "the call")
        await cut(wire)
    async with Wire() as again:
        await greet(again, token)
        again.ask(f"{DESK}.add", ["1"], id="a")
        await again.call("lm.ping")
        board.release()
        assert (await again.answer("a"))["result"] == 1
        assert board.ran("add") == 1


async def test_a_goodbye_ends_the_session_at_once(board: Board) -> None:
    """A page that is closed or left doesn't come back."""
    for code in (1000, 1001):
        async with Wire() as wire:
            token = (await greet(wire))["session"]
            await wire.call("lm.subscribe", [DESK, "1"])
            await wire.disconnect(code)
        assert live.sessions() == ()
        assert not board.subscribers[Address(DESK, "1")]
        async with Wire() as again:
            assert (await greet(again, token))["recovered"] is False
            await again.disconnect(1000)


async def test_a_session_without_a_token_ends_with_its_connection(board: Board) -> None:
    async with Wire() as wire:
        await wire.call("lm.subscribe", [DESK, "1"])
        await cut(wire)
    assert live.sessions() == ()


async def test_a_session_ends_when_nobody_came_back_in_time(settle_board: Callable[..., Board]) -> None:
    """It leaves its streams, and the next one knows that it is new."""
    board = settle_board(SESSION_GRACE=0.05)
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        await cut(wire)
    assert len(live.sessions()) == 1
    await eventually(lambda: not live.sessions(), "the session to end")
    assert not board.subscribers[Address(DESK, "1")]
    async with Wire() as again:
        assert (await greet(again, token))["recovered"] is False
        assert current().grace._timer is None  # type: ignore[union-attr]


async def test_a_second_connection_takes_the_session_over(board: Board) -> None:
    async with Wire() as first, Wire() as second:
        token = (await greet(first))["session"]
        await first.call("lm.subscribe", [DESK, "1"])
        assert (await greet(second, token))["recovered"] is True
        await eventually(lambda: first.closed, "the first one to be closed")
        assert first.closed == 4409
        board.publish(DESK, "1", 1)
        assert await second.notified("lm.event")
        assert len(live.sessions()) == 1
        await asyncio.wait_for(first.task, 5)  # type: ignore[arg-type]
        assert await second.call("lm.ping") is None


async def test_frames_that_a_slow_socket_had_not_taken_are_not_lost(board: Board) -> None:
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        wire.flowing.clear()
        for seq in range(1, 4):
            board.publish(DESK, "1", seq)
        await cut(wire)
    async with Wire() as again:
        await greet(again, token)
        assert [(await again.notified("lm.event"))["seq"] for _ in range(3)] == [1, 2, 3]


async def test_frames_after_a_failed_send_are_not_lost(board: Board) -> None:
    """A broken socket is noticed by whoever writes first."""
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        wire.gone = True
        for seq in range(1, 4):
            board.publish(DESK, "1", seq)
        await cut(wire)
    async with Wire() as again:
        await greet(again, token)
        assert [(await again.notified("lm.event"))["seq"] for _ in range(3)] == [1, 2, 3]


async def test_what_waits_is_bounded(settle_board: Callable[..., Board]) -> None:
    """B59: away for too long, streams are reset first; then the session ends."""
    board = settle_board(OUTBOX_BYTES=5_000)
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        await cut(wire)
    for seq in range(1, 20):
        board.publish(DESK, "1", seq, "x" * 1000)
    assert not board.subscribers[Address(DESK, "1")]
    async with Wire() as again:
        assert (await greet(again, token))["recovered"] is True
        assert (await again.next())["params"] == {"actor": DESK, "key": "1", "reason": "overflow"}
        board.hold = True
        for number in range(3):
            again.ask(f"{DESK}.large", ["1", 4000], id=f"large{number}")
        await eventually(lambda: board.ran("large") == 3, "the calls")
        await cut(again)
    board.release()
    await eventually(lambda: not live.sessions(), "the session to end")


async def test_sessions_without_a_connection_count_and_make_room(settle_board: Callable[..., Board]) -> None:
    settle_board(MAX_SESSIONS=2)
    tokens = []
    for _ in range(2):
        async with Wire() as wire:
            tokens.append((await greet(wire))["session"])
            await cut(wire)
    assert len(live.sessions()) == 2
    async with Wire() as third:
        assert third.closed is None
        assert len(live.sessions()) == 2  # the one that was away for longest is gone
        assert (await greet(third, tokens[1]))["recovered"] is True
        async with Wire() as fourth, Wire() as fifth:
            assert (fourth.closed, fifth.closed) == (None, 1013)


async def test_nobody_is_kept_for_a_token_that_is_not_ours(board: Board) -> None:
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await cut(wire)
    for wrong in ("", "x", token[:-1], token.replace("session-", "session-0"), "/:x"):
        async with Wire() as again:
            assert (await greet(again, wrong))["recovered"] is False
            await again.disconnect(1000)
    assert len(live.sessions()) == 1


@pytest.mark.django_db(transaction=True)
@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_session_is_its_users_alone(board: Board) -> None:
    """B60: whoever shows the token must be the user, by cookie or token, and nobody else can take it over."""
    _, cookie, _ = await browser("ada")
    await sync_to_async(make_user)("bob")
    async with Wire(headers=(OWN, cookie)) as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        for headers, proof in ((), None), ((), "Name bob"):
            async with Wire(headers=headers) as other:
                more = {} if proof is None else {"token": proof}
                assert (await greet(other, token, **more))["recovered"] is False
                await other.disconnect(1000)
        assert wire.closed is None
        await cut(wire)
    async with Wire(headers=()) as again:
        assert (await greet(again, token, token="Name ada"))["recovered"] is True
        assert await again.call(f"{DESK}.private", ["1"]) == "in"
        (session,) = live.sessions()
        assert (session.user.username, session.cookie) == ("ada", None)


async def test_a_permission_is_withdrawn_while_nobody_is_connected(
    settle_board: Callable[..., Board], members: type[Member]
) -> None:
    """B60: the client hears of it when it comes back."""
    settle_board(PERMISSION_TTL=0.05)
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await wire.call("lm.subscribe", [CLUB, "1"])
        await cut(wire)
    members.allowed = False
    (session,) = live.sessions()
    await eventually(lambda: not session.followed, "the stream to end")
    async with Wire() as again:
        await greet(again, token)
        assert await again.notified("lm.reset") == {"actor": CLUB, "key": "1", "reason": "forbidden"}


async def test_calls_on_a_connection_before_its_hello_are_still_answered(board: Board) -> None:
    async with Wire() as wire:
        token = (await greet(wire))["session"]
        await cut(wire)
    board.hold = True
    async with Wire() as again:
        again.ask(f"{DESK}.add", ["1"], id="before")
        await greet(again, token)
        board.release()
        assert (await again.answer("before"))["result"] == 1


async def test_an_idle_session_has_no_backlog(wire: Wire, board: Board) -> None:
    async with wire:
        await greet(wire)
        (session,) = live.sessions()
        assert isinstance(session, Session)
        assert session._backlog is None


async def test_a_session_that_only_follows_keeps_nothing_of_how_it_came_to(board: Board) -> None:
    async with Wire() as wire:
        await greet(wire)
        await wire.call("lm.subscribe", {"actor": DESK, "key": "1"})
        (session,) = live.sessions()
        (call,) = session.streams()
        assert (call.request_id, call.ident, call.copies) == (None, None, None)
        assert session._calls is None
        await wire.call(f"{DESK}.add", ["1"])
        assert session.waits is False


async def test_a_session_that_goes_on_from_several_lost_ones_leaves_nothing_behind(board: Board) -> None:
    """B80: a client that says hello on and on, with tokens of sessions that are gone, fills no memory with them."""
    lost = []
    for _ in range(3):
        async with Wire() as wire:
            lost.append((await greet(wire))["session"])
    hub = current()
    assert hub is not None
    async with Wire() as wire:
        lost.append((await greet(wire))["session"])
        for token in lost[:3]:
            assert (await greet(wire, token))["recovered"] is False
        assert len(hub.resumable) == 1
    assert hub.resumable == {}
    async with Wire() as again:  # nobody comes back to what has ended
        for token in lost:
            assert (await greet(again, token))["recovered"] is False
        (session,) = live.sessions()
        session.check_alive()


async def test_what_follows_hello_in_a_batch_is_the_resumed_sessions(board: Board) -> None:
    """B80: and not that of a session that nobody ends any more."""
    token = None
    for _ in range(3):
        async with Wire() as wire:
            hello = {"jsonrpc": "2.0", "id": 1, "method": "lm.hello", "params": {"protocol": 1, "session": token}}
            follow = {"jsonrpc": "2.0", "id": 2, "method": "lm.subscribe", "params": [DESK, "1"]}
            wire.send([hello, follow])
            answers = await wire.next()
            token = answers[0]["result"]["session"]
            assert "result" in answers[1]
            await cut(wire)
        assert len(board.subscribers[Address(DESK, "1")]) == 1
    async with Wire() as wire:
        await greet(wire, token)
    assert not board.subscribers[Address(DESK, "1")]
