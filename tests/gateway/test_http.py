"""One POST, one call or one batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.middleware.csrf import _get_new_csrf_string, _mask_cipher_secret
from django.test import Client, override_settings

from lightmoon_django import host
from lightmoon_django.actor import registry
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.exchange import Exchange, post, request
from tests.gateway.people import BY_NAME, browser, cookie, make_user
from tests.gateway.wire import OWN, PATIENCE, eventually

DESK = registry.name_of(Desk)


async def test_a_call_is_answered_in_the_body(board: Board) -> None:
    response = await post(request(f"{DESK}.add", ["1", 4]))
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert response.json == {"jsonrpc": "2.0", "id": 1, "result": 4}


async def test_a_batch_is_answered_in_the_body(board: Board) -> None:
    response = await post(
        [request(f"{DESK}.add", ["1"]), request("nothing", id=2), request(f"{DESK}.add", ["1"], id=3)]
    )
    assert response.status == 200
    assert {one["id"] for one in response.json} == {1, 2, 3}


async def test_notifications_alone_are_answered_by_204(board: Board) -> None:
    notification = {"jsonrpc": "2.0", "method": f"{DESK}.add", "params": ["1"]}
    for body in (notification, [notification, notification]):
        response = await post(body)
        assert (response.status, response.body) == (204, b"")
    assert len(board.posted) == 3


async def test_an_error_is_an_answer_with_200(board: Board) -> None:
    """B18: over HTTP too."""
    response = await post(request(f"{DESK}.refuse", ["1"]))
    assert (response.status, response.json["error"]["data"]["type"]) == (200, "not_today")
    assert (await post(b"{")).json["error"]["code"] == -32700
    assert (await post(b"\xff")).json["error"]["code"] == -32700
    assert (await post(b"")).status == 200


async def test_a_body_may_come_in_pieces(board: Board) -> None:
    assert (await post(request(f"{DESK}.add", ["1"]), chunk=3)).json["result"] == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused(board: Board, method: str) -> None:
    response = await post(request(f"{DESK}.add", ["1"]), method=method)
    assert (response.status, response.headers["allow"]) == (405, "POST")
    assert board.posted == []


@pytest.mark.parametrize("kind", [b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data", b""])
async def test_other_content_types_are_refused(board: Board, kind: bytes) -> None:
    """A page of another site can send these without asking first."""
    assert (await post(request(f"{DESK}.add", ["1"]), (b"content-type", kind))).status == 415
    assert board.posted == []


async def test_a_body_over_the_limit_is_refused(settle_board: Callable[..., Board]) -> None:
    """B21."""
    board = settle_board(MAX_REQUEST_BYTES=1000)
    body = request(f"{DESK}.price", {"key": "1", "amount": "1", "note": "x" * 1000})
    assert (await post(body)).status == 413
    assert (await post(body, (b"content-length", b"99999"))).status == 413
    assert (await post(body, chunk=10)).status == 413
    assert board.posted == []


@pytest.mark.parametrize("origin", [b"http://evil.com", b"null"])
async def test_a_foreign_origin_may_not_post(board: Board, origin: bytes) -> None:
    """B60."""
    assert (await post(request(f"{DESK}.add", ["1"]), (b"origin", origin))).status == 403
    assert board.posted == []


async def test_a_post_without_a_session_has_no_streams_and_remembers_no_ids(board: Board) -> None:
    assert (await post(request("lm.subscribe", [DESK, "1"]))).json["error"]["code"] == -32600
    ids = [(await post(request(f"{DESK}.add", ["1"], id="same"))).json["result"] for _ in range(2)]
    assert ids == [1, 2]


async def test_a_client_that_goes_takes_its_call_back(board: Board) -> None:
    exchange = Exchange(request(f"{DESK}.wait", ["1"]))
    cancelled: list[Any] = []
    board.cancel = cancelled.append  # type: ignore[method-assign]
    await eventually(lambda: board.posted, "the call")
    exchange.inbox.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(exchange.task, PATIENCE)
    await eventually(lambda: cancelled == board.posted, "the call to be cancelled")
    assert exchange.sent == []


@pytest.mark.django_db(transaction=True)
async def test_cookies_count_with_a_csrf_token_alone(board: Board) -> None:
    user, _, key = await browser("ada")
    secret = _get_new_csrf_string()
    call = request(f"{DESK}.private", ["1"])
    both = cookie(key, csrftoken=secret)
    token = (b"x-csrftoken", _mask_cipher_secret(secret).encode())
    assert (await post(call, cookie(key))).status == 403
    assert (await post(call, both)).status == 403
    assert (await post(call, both, (b"x-csrftoken", b"wrong"))).status == 403
    assert board.posted == []
    assert (await post(call, both, token, OWN)).json["result"] == "in"
    assert board.posted[0].user == user
    assert (await post(call, both, token, (b"origin", b"http://evil.com"))).status == 403


@pytest.mark.django_db(transaction=True)
@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_a_token_needs_no_csrf_token(board: Board) -> None:
    user = await sync_to_async(make_user)("ada")
    call = request(f"{DESK}.private", ["1"])
    assert (await post(call, (b"authorization", b"Name ada"))).json["result"] == "in"
    assert board.posted[0].user == user
    assert (await post(call, (b"authorization", b"Name nobody"))).status == 401
    assert (await post(call, (b"authorization", b"Unknown scheme"))).json["error"]["code"] == 4003


@pytest.mark.django_db(transaction=True)
@override_settings(ALLOWED_HOSTS=["other.org"])
async def test_a_host_that_django_would_refuse_has_no_own_origin(board: Board) -> None:
    _, cookies, _ = await browser("ada")
    assert (await post(request(f"{DESK}.private", ["1"]), cookies, OWN)).status == 403
    assert (await post(request(f"{DESK}.private", ["1"]), cookies)).status == 403
    assert board.posted == []


async def test_the_anonymous_need_neither(board: Board) -> None:
    assert (await post(request(f"{DESK}.add", ["1"]))).json["result"] == 1
    assert (await post(request(f"{DESK}.private", ["1"]))).json["error"]["code"] == 4003


@pytest.fixture
def elsewhere(settle_board: Callable[..., Board], monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """A node whose loop runs in a thread of its own, as under WSGI."""
    board = settle_board(MAX_REQUEST_BYTES=1000)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    node = SimpleNamespace(loop=loop, settings=board.settings)
    monkeypatch.setattr(host, "host", SimpleNamespace(anywhere=lambda: node))
    yield board
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.django_db(transaction=True)
def test_the_view_answers_like_the_asgi_endpoint(elsewhere: Board, client: Client) -> None:
    def call(body: Any, kind: str = "application/json", **more: Any) -> Any:
        return client.post("/lightmoon/rpc", body, kind, **more)

    assert call(request(f"{DESK}.add", ["1"])).json() == {"jsonrpc": "2.0", "id": 1, "result": 1}
    assert call({"jsonrpc": "2.0", "method": f"{DESK}.add", "params": ["1"]}).status_code == 204
    assert client.get("/lightmoon/rpc").status_code == 405
    assert call("x", "text/plain").status_code == 415
    assert call({"x": "x" * 1000}).status_code == 413
    assert call(request(f"{DESK}.add", ["1"]), headers={"origin": "http://evil.com"}).status_code == 403
    assert call(request(f"{DESK}.private", ["1"])).json()["error"]["code"] == 4003


@pytest.mark.django_db(transaction=True)
@override_settings(REST_FRAMEWORK=BY_NAME)
def test_failed_proofs_use_up_an_allowance_under_wsgi_too(
    elsewhere: Board, client: Client, settle_board: Callable[..., Board]
) -> None:
    """A page of another site, or a token that is none: guessing costs as much as calling, for that address alone."""
    settle_board(ADDRESS_RATE_LIMIT=0.1, ADDRESS_RATE_BURST=3)

    def call(address: str, **headers: str) -> int:
        body = request(f"{DESK}.add", ["1"])
        found = client.post("/lightmoon/rpc", body, "application/json", headers=headers, REMOTE_ADDR=address)
        return int(found.status_code)

    found = [call("8.8.8.8", authorization="Name nobody") for _ in range(2)]
    assert [*found, call("8.8.8.8", origin="https://elsewhere.example")] == [401, 401, 403]
    assert [call("8.8.8.8", authorization="Name nobody"), call("8.8.8.8")] == [429, 429]
    assert call("9.9.9.9") == 200


@pytest.mark.django_db(transaction=True)
def test_the_view_asks_for_a_csrf_token_with_cookies(elsewhere: Board) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("ada"))
    body = request(f"{DESK}.private", ["1"])
    assert client.post("/lightmoon/rpc", body, "application/json").status_code == 403
    secret = _get_new_csrf_string()
    client.cookies["csrftoken"] = secret
    headers = {"x-csrftoken": _mask_cipher_secret(secret)}
    assert client.post("/lightmoon/rpc", body, "application/json", headers=headers).json()["result"] == "in"
