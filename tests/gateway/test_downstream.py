"""Sessions over HTTP: calls by POST, messages by event stream or by polls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.middleware.csrf import _get_new_csrf_string, _mask_cipher_secret
from django.test import override_settings

from lightmoon_django.actor import registry
from lightmoon_django.gateway import registry as live
from lightmoon_django.gateway import transport, users
from lightmoon_django.gateway.hub import current
from lightmoon_django.identity import Address
from tests.gateway.actors import Club, Desk, Member
from tests.gateway.board import Board
from tests.gateway.exchange import SESSION, Events, Exchange, call, hello, poll, post, request
from tests.gateway.people import BY_NAME, browser, cookie, make_user
from tests.gateway.wire import Wire, eventually

DESK, CLUB = registry.name_of(Desk), registry.name_of(Club)
BOTH = pytest.mark.parametrize("path", ["sse", "poll"])


async def begin() -> str:
    """A new session that follows one stream. Its token."""
    token: str = (await hello())["session"]
    await call(token, "lm.subscribe", [DESK, "1"])
    return token


def seqs(messages: list[Any]) -> list[int]:
    return [one["params"]["seq"] for one in messages]


def parked() -> int:
    hub = current()
    assert hub is not None
    return len(hub.polls) + len(hub.streams)


async def get(path: str, *headers: tuple[bytes, bytes], **query: Any) -> Any:
    """A request that is refused, or cut off once it is parked."""
    exchange = Exchange(b"", *headers, method="GET", path=path, **query)
    await eventually(lambda: exchange.sent or parked(), "an answer")
    await asyncio.sleep(0.01)
    return exchange


# Polls


async def test_a_poll_that_another_one_overtook_acknowledges_nothing_in_its_name(board: Board) -> None:
    """B80: whoever takes its cursor still gets what the other one was given, should that be lost."""
    token = await begin()
    first = Exchange(b"", method="GET", path="poll", session=token, cursor=0)
    await eventually(parked, "a parked poll")
    second = Exchange(b"", method="GET", path="poll", session=token, cursor=0)
    board.publish(DESK, "1", 1)
    assert seqs((await second.done()).json["messages"]) == [1]
    overtaken = (await first.done()).json
    assert overtaken["messages"] == []
    assert seqs((await poll(token, overtaken["cursor"])).json["messages"]) == [1]


async def test_a_poll_answers_what_waits_and_a_cursor(board: Board) -> None:
    token = await begin()
    for seq in (1, 2):
        board.publish(DESK, "1", seq)
    response = await poll(token)
    assert (response.status, response.headers["cache-control"]) == (200, "no-store")
    assert seqs(response.json["messages"]) == [1, 2]
    board.publish(DESK, "1", 3)
    assert seqs((await poll(token, response.json["cursor"])).json["messages"]) == [3]


async def test_a_poll_is_parked_until_something_comes(board: Board) -> None:
    token = await begin()
    exchange = Exchange(b"", method="GET", path="poll", session=token)
    await eventually(parked, "the poll to be parked")
    board.publish(DESK, "1", 1)
    board.publish(DESK, "1", 2)
    assert seqs((await exchange.done()).json["messages"]) == [1, 2]
    assert parked() == 0


async def test_a_poll_ends_with_the_heartbeat(settle_board: Callable[..., Board]) -> None:
    settle_board(HEARTBEAT=0.02)
    token = await begin()
    assert (await poll(token)).json == {"messages": [], "cursor": "0"}


async def test_an_answer_that_was_lost_is_given_again(board: Board) -> None:
    """B56: what a cursor doesn't acknowledge is kept."""
    token = await begin()
    board.publish(DESK, "1", 1)
    first = (await poll(token)).json
    board.publish(DESK, "1", 2)
    assert seqs((await poll(token, "0")).json["messages"]) == [1, 2]
    board.publish(DESK, "1", 3)
    assert seqs((await poll(token, first["cursor"])).json["messages"]) == [2, 3]


@pytest.mark.parametrize("cursor", ["7", "-1", "x", "1" * 5000, "٣"])
async def test_a_cursor_that_is_not_held_resets_the_streams(board: Board, cursor: str) -> None:
    """B55: never a silent gap."""
    token = await begin()
    board.publish(DESK, "1", 1)
    messages = (await poll(token, cursor)).json["messages"]
    assert messages[-1]["method"] == "lm.reset"
    assert messages[-1]["params"] == {"actor": DESK, "key": "1", "reason": "gap"}
    assert not board.subscribers[Address(DESK, "1")]


async def test_only_so_much_is_kept_after_it_was_answered(board: Board) -> None:
    token = await begin()
    for seq in range(1, 301):
        board.publish(DESK, "1", seq)
    assert len((await poll(token, "0")).json["messages"]) == 300
    assert (await poll(token, "0")).json["messages"][-1]["params"]["reason"] == "gap"


async def test_a_reset_that_was_lost_with_too_much_else_is_said_again(board: Board) -> None:
    """B55: its stream is followed no more, so no other reset would ever tell of it."""
    token = await begin()
    await call(token, "lm.subscribe", [DESK, "2"])
    board.end(DESK, "1", "moved")
    for seq in range(1, 301):
        board.publish(DESK, "2", seq)
    assert len((await poll(token, "0")).json["messages"]) == 301
    for _ in range(2):  # this answer may be lost, too
        resets = [one["params"] for one in (await poll(token, "0")).json["messages"]]
        assert [(one["key"], one["reason"]) for one in resets] == [("1", "moved"), ("2", "gap")]


async def test_a_stream_that_is_reset_while_it_is_joined_again_may_be_asked_for_once_more(board: Board) -> None:
    """It was not its client that took it back: "cancelled" would be the end of it there."""
    token = await begin()
    board.hold = True
    asked = Exchange(request("lm.subscribe", [DESK, "1"]), (SESSION, token.encode()))
    await eventually(lambda: len(board.posted) == 2, "the second subscription")
    assert (await poll(token, "7")).json["messages"][-1]["params"]["reason"] == "gap"
    error = (await asked.done()).json["error"]
    assert (error["code"], error["data"]["retryable"]) == (5003, True)


async def test_a_second_poll_takes_over(board: Board) -> None:
    token = await begin()
    first = Exchange(b"", method="GET", path="poll", session=token)
    await eventually(parked, "the poll to be parked")
    second = Exchange(b"", method="GET", path="poll", session=token)
    await asyncio.sleep(0)
    board.publish(DESK, "1", 1)  # before the first one has noticed
    assert (await first.done()).json["messages"] == []
    assert seqs((await second.done()).json["messages"]) == [1]


# Event streams


async def test_an_event_stream_flows_at_once_and_numbers_its_messages(board: Board) -> None:
    token = await begin()
    stream = await Events(token).opened()
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.sent[1]["body"].startswith(b":")
    for seq in range(1, 1001):
        board.publish(DESK, "1", seq)
    events = await stream.until(1000)
    assert [id for id, _ in events] == [str(number) for number in range(1, 1001)]
    assert seqs([message for _, message in events]) == list(range(1, 1001))
    await stream.disconnect()


async def test_an_event_stream_goes_on_after_the_last_event(board: Board) -> None:
    """B56: with its session's subscriptions, and what it missed."""
    token = await begin()
    stream = await Events(token).opened()
    for seq in (1, 2, 3):
        board.publish(DESK, "1", seq)
    await stream.until(3)
    await stream.disconnect()
    board.publish(DESK, "1", 4)
    again = await Events(token, last=2).opened()
    board.publish(DESK, "1", 5)
    assert seqs([message for _, message in await again.until(3)]) == [3, 4, 5]
    assert [id for id, _ in again.events] == ["3", "4", "5"]
    await again.disconnect()


async def test_a_last_event_that_is_not_held_resets_the_streams(board: Board) -> None:
    token = await begin()
    stream = await Events(token, last=99).opened()
    ((_, reset),) = await stream.until(1)
    assert (reset["method"], reset["params"]["reason"]) == ("lm.reset", "gap")
    await stream.disconnect()


async def test_an_event_stream_shows_that_it_lives(settle_board: Callable[..., Board]) -> None:
    settle_board(HEARTBEAT=0.02)
    token = await begin()
    stream = await Events(token).opened()
    await eventually(lambda: stream.body.count(b":\n\n") >= 4, "heartbeats")
    await stream.disconnect()
    assert parked() == 0


async def test_what_waits_for_a_server_that_never_pauses_goes_on_when_it_has_room(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B59: Daphne says nothing when it has sent what it held; the next heartbeat may be far."""
    held = 0
    monkeypatch.setattr(transport, "backlog_of", lambda _: lambda: held)
    stream = await Events(await begin()).opened()
    held = board.settings.OUTBOX_BYTES + 1
    board.publish(DESK, "1", 1)
    await asyncio.sleep(0)
    assert stream.events == []
    held = 0
    assert seqs([message for _, message in await stream.until(1)]) == [1]
    await stream.disconnect()


async def test_a_client_that_stops_reading_its_event_stream_is_reset_then_dropped(
    settle_board: Callable[..., Board],
) -> None:
    """B59: others go on, and its memory is freed."""
    board = settle_board(OUTBOX_BYTES=10_000)
    slow, quick = await Events(await begin()).opened(), await Events(await begin()).opened()
    slow.flowing.clear()
    for seq in range(1, 20):
        board.publish(DESK, "1", seq, "x" * 1000)
    assert len(board.subscribers[Address(DESK, "1")]) == 1
    slow.flowing.set()
    (_, first), (_, reset) = await slow.until(2)
    assert first["params"]["seq"] == 1  # it was on its way
    assert reset["params"] == {"actor": DESK, "key": "1", "reason": "overflow"}
    assert seqs([message for _, message in await quick.until(19)]) == list(range(1, 20))

    (session,) = [one for one in live.sessions() if not one.followed]
    slow.flowing.clear()
    for _ in range(20):
        session.answer("x" * 1000)
    await asyncio.wait_for(slow.task, 5)
    assert len(live.sessions()) == 1
    await quick.disconnect()


async def test_a_session_that_fetches_nothing_is_reset_then_dropped(settle_board: Callable[..., Board]) -> None:
    """B59: between polls, or after a stream broke."""
    board = settle_board(OUTBOX_BYTES=5_000)
    token = await begin()
    for seq in range(1, 20):
        board.publish(DESK, "1", seq, "x" * 1000)
    messages = (await poll(token, "0")).json["messages"]
    assert [one["method"] for one in messages] == ["lm.reset"]
    (session,) = live.sessions()
    for _ in range(10):
        session.answer("x" * 1000)
    assert live.sessions() == ()
    assert (await post(request("lm.ping"), (SESSION, token.encode()))).status == 410


# The upstream half


async def test_hello_by_post_begins_a_session(board: Board) -> None:
    found = await hello(client="test")
    assert (found["recovered"], found["heartbeat"]) == (False, 25.0)
    assert await call(found["session"], f"{DESK}.add", ["1"]) == 1
    again = await hello(session=found["session"])
    assert (again["recovered"], again["session"]) == (True, found["session"])
    assert len(live.sessions()) == 1


async def test_the_answer_comes_in_the_posts_body_and_nowhere_else(board: Board) -> None:
    token = await begin()
    stream = await Events(token).opened()
    assert await call(token, f"{DESK}.add", ["1"]) == 1
    board.publish(DESK, "1", 1)
    ((_, message),) = await stream.until(1)
    assert message["method"] == "lm.event"
    await stream.disconnect()


async def test_a_call_whose_post_broke_resolves_exactly_once(board: Board) -> None:
    """B57, B50: sent again with the same id it gets the first one's answer."""
    token = await begin()
    board.hold = True
    body = request(f"{DESK}.add", ["1"], id="a")
    broken = Exchange(body, (SESSION, token.encode()))
    await eventually(lambda: board.ran("add"), "the call")
    await broken.disconnect()
    again = Exchange(body, (SESSION, token.encode()))
    await eventually(lambda: len(again.inbox._queue) == 0, "the second copy")  # type: ignore[attr-defined]
    board.release()
    assert (await again.done()).json["result"] == 1
    assert await call(token, f"{DESK}.add", ["1"], id="a") == 1
    assert board.ran("add") == 1


async def test_ids_and_streams_belong_to_the_session_whatever_carries_it(board: Board) -> None:
    """B56, B57: from a WebSocket to an event stream to polls and back."""
    async with Wire() as wire:
        token = (await wire.call("lm.hello", {"protocol": 1}))["session"]
        await wire.call("lm.subscribe", [DESK, "1"])
        assert await wire.call(f"{DESK}.add", ["1"], id="a") == 1
        await wire.disconnect(1006)
    board.publish(DESK, "1", 1)
    stream = await Events(token).opened()
    assert seqs([(await stream.until(1))[0][1]]) == [1]
    assert await call(token, f"{DESK}.add", ["1"], id="a") == 1
    board.publish(DESK, "1", 2)
    assert seqs((await poll(token, "1")).json["messages"]) == [2]
    await asyncio.wait_for(stream.task, 5)
    board.publish(DESK, "1", 3)
    async with Wire() as again:
        assert (await again.call("lm.hello", {"protocol": 1, "session": token}))["recovered"] is True
        assert (await again.notified("lm.event"))["seq"] == 3
        assert await again.call(f"{DESK}.add", ["1"], id="a") == 1
    assert board.ran("add") == 1


async def test_who_comes_from_a_websocket_learns_where_the_numbers_stand(board: Board) -> None:
    """B56: to put an answer behind the messages that it stands behind, from the first one on."""
    token = await begin()
    stream = await Events(token).opened()
    board.publish(DESK, "1", 1)
    await stream.until(1)
    async with Wire() as wire:
        assert "cursor" not in await wire.call("lm.hello", {"protocol": 1, "session": token})
        await wire.call("lm.subscribe", [DESK, "1"])
        await wire.disconnect(1006)
    board.publish(DESK, "1", 2)
    found = await hello(session=token)
    assert (found["recovered"], found["cursor"]) == (True, "1")
    again = Events(token, cursor=found["cursor"])
    assert [id for id, _ in await again.until(1)] == ["2"]
    await again.disconnect()


async def test_a_post_keeps_its_session_alive(settle_board: Callable[..., Board]) -> None:
    settle_board(SESSION_GRACE=0.2)
    token = await begin()
    for _ in range(5):
        await asyncio.sleep(0.08)
        await call(token, "lm.ping")
    await eventually(lambda: not live.sessions(), "the session to end")


async def test_a_client_may_end_its_session(board: Board) -> None:
    """As a WebSocket does by closing: its streams are left at once."""
    token = await begin()
    stream = await Events(token).opened()
    assert (await post(b"", (SESSION, token.encode()), method="DELETE")).status == 204
    assert (live.sessions(), board.subscribers[Address(DESK, "1")]) == ((), {})
    await asyncio.wait_for(stream.task, 5)
    assert (await post(b"", (SESSION, token.encode()), method="DELETE")).status == 410


# Who may come in


@BOTH
async def test_a_session_that_is_gone_is_said_to_be_gone(settle_board: Callable[..., Board], path: str) -> None:
    """B56: explicitly, so that the client begins anew."""
    settle_board(SESSION_GRACE=0.5)  # seconds; enough for `begin` on a busy machine
    token = await begin()
    await eventually(lambda: not live.sessions(), "the session to end")
    for wrong in (token, "x"):
        assert (await get(path, session=wrong)).status == 410
        assert (await post(request("lm.ping"), (SESSION, wrong.encode()))).status == 410


@BOTH
async def test_requests_that_make_no_sense_are_refused(board: Board, path: str) -> None:
    assert (await get(path)).status == 400
    refused = await post(request("lm.ping"), path=path)
    assert (refused.status, refused.headers["allow"]) == (405, "GET")


@BOTH
@pytest.mark.django_db(transaction=True)
@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_token_in_a_url_authenticates_no_one(board: Board, path: str) -> None:
    """B60: the session's user must show its cookie or Authorization header each time."""
    await sync_to_async(make_user)("bob")
    _, _, key = await browser("ada")
    secret = _get_new_csrf_string()
    csrf = (b"x-csrftoken", _mask_cipher_secret(secret).encode())
    proof = cookie(key, csrftoken=secret)
    token = (await hello(proof, csrf))["session"]
    mine = (SESSION, token.encode())
    private = request(f"{DESK}.private", ["1"])

    for headers in ((), ((b"authorization", b"Name bob"),)):
        assert (await get(path, *headers, session=token)).status == 403
        assert (await post(private, mine, *headers)).status == 403
        assert (await post(b"", mine, *headers, method="DELETE")).status == 403
    assert (await get(path, (b"authorization", b"Name nobody"), session=token)).status == 401
    assert (await post(private, mine, proof)).status == 403  # a cookie needs the CSRF token
    assert (await post(b"", mine, proof, method="DELETE")).status == 403
    assert board.posted == []
    for headers in ((proof, csrf), ((b"authorization", b"Name ada"),)):
        assert (await post(private, mine, *headers)).json["result"] == "in"
    exchange = await get(path, proof, session=token)
    assert exchange.status in (None, 200)
    live.closing("over", 0.0)
    await asyncio.wait_for(exchange.task, 5)


@BOTH
@pytest.mark.parametrize("origin", [b"http://evil.com", b"null"])
async def test_a_foreign_page_may_not_listen(board: Board, path: str, origin: bytes) -> None:
    """B60."""
    token = await begin()
    assert (await get(path, (b"origin", origin), session=token)).status == 403


async def test_events_stop_when_the_permission_is_withdrawn(
    settle_board: Callable[..., Board], members: type[Member]
) -> None:
    """B60: on an event stream too."""
    settle_board(PERMISSION_TTL=0.05)
    token = (await hello())["session"]
    await call(token, "lm.subscribe", [CLUB, "1"])
    stream = await Events(token).opened()
    members.allowed = False
    ((_, reset),) = await stream.until(1)
    assert reset["params"] == {"actor": CLUB, "key": "1", "reason": "forbidden"}
    await stream.disconnect()


async def test_parked_requests_end_when_the_server_closes(board: Board) -> None:
    """B58: they would hold a server's stop."""
    stream = await Events(await begin()).opened()
    waiting = Exchange(b"", method="GET", path="poll", session=await begin())
    await eventually(lambda: parked() == 2, "both to be parked")
    live.closing("restart", 2.5)
    (message,) = (await waiting.done()).json["messages"]
    assert message["params"] == {"reason": "restart", "retry_after": 2.5}
    await asyncio.wait_for(stream.task, 5)
    assert stream.events[-1][1]["method"] == "lm.closing"
    assert stream.sent[-1].get("more_body", False) is False
    assert (await get("sse", session="x")).status == 503


async def test_more_sessions_than_allowed_are_refused(settle_board: Callable[..., Board]) -> None:
    settle_board(MAX_SESSIONS=1)
    async with Wire() as wire:
        refused = (await post(request("lm.hello", {"protocol": 1}))).json
        assert refused["error"]["code"] == 4029
        assert await wire.call("lm.ping") is None


async def test_parked_requests_cost_no_thread(board: Board) -> None:
    """B80: nor a timer each."""
    before = threading.active_count()
    streams = [await Events(await begin()).opened() for _ in range(100)]
    polls = [Exchange(b"", method="GET", path="poll", session=await begin()) for _ in range(100)]
    await eventually(lambda: parked() == 200, "all to be parked")
    assert threading.active_count() <= before
    for seq in (1, 2):
        board.publish(DESK, "1", seq)
    for exchange in polls:
        assert seqs((await exchange.done()).json["messages"]) == [1, 2]
    for stream in streams:
        assert seqs([message for _, message in await stream.until(2)]) == [1, 2]
        await stream.disconnect()


@override_settings(REST_FRAMEWORK=BY_NAME)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("lm.subscribe", [CLUB, "1"]),
        (f"{DESK}.members", ["1"]),
        ("lm.hello", {"protocol": 1, "token": "Name ada"}),
    ],
)
async def test_nothing_begins_in_a_session_that_ended_while_it_was_judged(
    board: Board, monkeypatch: pytest.MonkeyPatch, method: str, params: Any
) -> None:
    """Nobody would ever end it: no stream flows to nobody, and nobody comes back to what is gone."""
    await sync_to_async(make_user)("ada")
    waits, goes_on = threading.Event(), threading.Event()

    def slowly(*_: Any) -> bool:
        waits.set()
        return goes_on.wait(10)

    monkeypatch.setattr(Member, "has_permission", slowly)
    found = users.by_hello
    monkeypatch.setattr(users, "by_hello", lambda request, token: slowly() and found(request, token))
    token = (await hello())["session"]
    asked = Exchange(request(method, params), (SESSION, token.encode()))
    await asyncio.to_thread(waits.wait, 10)
    assert (await post(b"", (SESSION, token.encode()), method="DELETE")).status == 204
    goes_on.set()
    assert (await asked.done()).json["error"]["code"] == 5003
    hub = current()
    assert hub is not None
    assert (board.posted, live.sessions(), hub.by_user, hub.resumable) == ([], (), {}, {})
    assert not hub.sweep._listening


async def test_nobody_says_hello_in_a_session_that_has_ended(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its token would be good for ever, and whoever came back with it could do nothing."""
    waits, goes_on = threading.Event(), threading.Event()
    monkeypatch.setattr(Member, "has_permission", lambda *_: waits.set() or goes_on.wait(10))
    token = (await hello())["session"]
    batch = [request("lm.subscribe", [CLUB, "1"]), request("lm.hello", {"protocol": 1}, id="h")]
    asked = Exchange(batch, (SESSION, token.encode()))
    await asyncio.to_thread(waits.wait, 10)
    assert (await post(b"", (SESSION, token.encode()), method="DELETE")).status == 204
    goes_on.set()
    assert [one["error"]["code"] for one in (await asked.done()).json] == [5003, 5003]
    hub = current()
    assert hub is not None
    assert hub.resumable == {}
