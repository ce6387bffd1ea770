"""How much may come from one user and one address, by whatever door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import RequestFactory

from lightmoon_django.actor import registry
from lightmoon_django.conf import Settings
from lightmoon_django.errors import Overloaded
from lightmoon_django.gateway.rates import Rates, Table
from tests.gateway import exchange
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.exchange import Exchange
from tests.gateway.people import browser
from tests.gateway.wire import OWN, Wire

DESK = registry.name_of(Desk)
PUBLIC = ("8.8.8.8", 4000)
ADD = exchange.request(f"{DESK}.add", ["1"])
BY_HEADER = {"CLIENT_ADDRESS_HEADER": "X-Forwarded-For"}


def _from(address: str) -> tuple[bytes, bytes]:
    """What a proxy adds for a client there."""
    return b"x-forwarded-for", address.encode()


async def _count(wires: list[Wire], calls: int) -> list[int]:
    """How many of `calls` on each connection were answered with a result."""
    found = []
    for wire in wires:
        answers = [await wire.answer(id) for id in [wire.ask(f"{DESK}.add", ["1"]) for _ in range(calls)]]
        refused = [one["error"] for one in answers if "error" in one]
        assert all(one["code"] == 4029 and 0 < one["data"]["retry_after"] <= 1 for one in refused)
        found.append(calls - len(refused))
    return found


@pytest.mark.django_db(transaction=True)
async def test_a_user_has_one_allowance_for_all_connections(settle_board: Callable[..., Board]) -> None:
    board = settle_board(USER_RATE_LIMIT=1.0, USER_RATE_BURST=5)
    _, cookie, _ = await browser("ada")
    _, other, _ = await browser("bob")
    async with (
        Wire(headers=(OWN, cookie)) as one,
        Wire(headers=(OWN, cookie)) as two,
        Wire(headers=(OWN, other)) as bob,
    ):
        assert await _count([one, two, bob], 4) == [4, 1, 4]
        assert len(board.posted) == 9


async def test_an_address_has_one_allowance_for_all_doors(settle_board: Callable[..., Board]) -> None:
    """WebSocket, POST and poll; another address is not touched, nor one that many share."""
    board = settle_board(ADDRESS_RATE_LIMIT=1.0, ADDRESS_RATE_BURST=7, **BY_HEADER)
    token = (await exchange.hello())["session"]
    async with Wire(headers=(OWN, _from("8.8.8.8"))) as one, Wire(headers=(OWN, _from("9.9.9.9"))) as other:
        assert await _count([one], 5) == [5]
        assert "result" in (await exchange.post(ADD, _from("8.8.8.8"))).json
        poll = Exchange(b"", _from("8.8.8.8"), method="GET", path="poll", session=token)
        again = await exchange.poll(token, None, _from("8.8.8.8"))
        assert (again.status, again.headers["retry-after"]) == (429, "1")
        poll.task.cancel()
        refused = await exchange.post(ADD, _from("8.8.8.8"))
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert await _count([one, other], 5) == [0, 5]
        async with Wire() as neighbour:
            assert await _count([neighbour], 9) == [9]
        assert len(board.posted) == 5 + 1 + 5 + 9


@pytest.mark.parametrize("body", [ADD, [ADD, ADD]])
async def test_a_call_that_passes_the_door_and_is_one_too_many_is_told_in_json(
    settle_board: Callable[..., Board], body: Any
) -> None:
    settle_board(ADDRESS_RATE_LIMIT=1.0, ADDRESS_RATE_BURST=1, **BY_HEADER)
    answers = (await exchange.post([ADD, *(body if isinstance(body, list) else [body])], _from("8.8.8.8"))).json
    codes = [one["error"]["code"] for one in answers if "error" in one]
    assert (len(answers) - len(codes), set(codes)) == (1, {4029})


async def test_what_costs_the_server_something_counts(settle_board: Callable[..., Board]) -> None:
    """Sessions that are begun by POST, and the OpenRPC document."""
    settle_board(ADDRESS_RATE_LIMIT=0.1, ADDRESS_RATE_BURST=2, **BY_HEADER)
    hello = exchange.request("lm.hello", {"protocol": 1})
    assert (await exchange.post(hello, _from("8.8.8.8"))).json["result"]["session"]
    answers = (await exchange.post([hello, hello], _from("8.8.8.8"))).json
    assert sorted("error" in one for one in answers) == [False, True]
    for _ in range(2):
        assert "result" in (await exchange.post(exchange.request("rpc.discover"), _from("9.9.9.9"))).json
    assert (await exchange.post(exchange.request("rpc.discover"), _from("9.9.9.9"))).status == 429


async def test_failed_proofs_use_up_an_allowance(settle_board: Callable[..., Board]) -> None:
    """Guessing costs as much as calling."""
    settle_board(ADDRESS_RATE_LIMIT=0.1, ADDRESS_RATE_BURST=3, **BY_HEADER)
    foreign = (b"origin", b"https://elsewhere.example")
    found = [(await exchange.post(ADD, foreign, _from("8.8.8.8"))).status for _ in range(5)]
    assert found == [403, 403, 403, 429, 429]


async def test_guessing_by_ending_sessions_is_counted_too(settle_board: Callable[..., Board]) -> None:
    settle_board(ADDRESS_RATE_LIMIT=0.1, ADDRESS_RATE_BURST=3, **BY_HEADER)
    headers = ((b"origin", b"https://elsewhere.example"), _from("8.8.8.8"))
    found = [(await Exchange(b"", *headers, method="DELETE").done()).status for _ in range(5)]
    assert found == [403, 403, 403, 429, 429]


async def test_sessions_begun_over_http_count_as_connections(settle_board: Callable[..., Board]) -> None:
    """Each is kept for a while, and takes the place of others."""
    settle_board(CONNECT_RATE_LIMIT=0.1, CONNECT_RATE_BURST=2, **BY_HEADER)
    hello = exchange.request("lm.hello", {"protocol": 1})
    found = [(await exchange.post(hello, _from("8.8.8.8"))).json for _ in range(3)]
    assert ["result" in one for one in found] == [True, True, False]
    assert found[2]["error"]["code"] == 4029
    assert "result" in (await exchange.post(hello, _from("9.9.9.9"))).json
    assert "result" in (await exchange.post(ADD, _from("8.8.8.8"))).json


async def test_connections_of_an_address_are_counted(settle_board: Callable[..., Board]) -> None:
    """A WebSocket hears when to come back before it is closed; an event stream by its status."""
    settle_board(CONNECT_RATE_LIMIT=1.0, CONNECT_RATE_BURST=2)
    async with Wire(client=PUBLIC) as one, Wire(client=PUBLIC) as two:
        assert await _count([one, two], 1) == [1, 1]
        async with Wire(client=PUBLIC) as three:
            found = await three.notified("lm.closing")
            assert found["reason"] == "overloaded"
            assert 0 < found["retry_after"] <= 1
            assert three.closed == 1013
        async with Wire(client=("8.8.4.4", 1)) as other:
            assert await _count([other], 1) == [1]
    token = (await exchange.hello())["session"]
    stream = exchange.Events(token, _from("8.8.8.8"))
    stream.scope["client"] = PUBLIC
    assert (await stream.done()).status == 429


async def test_without_a_limit_nothing_is_counted(settle_board: Callable[..., Board]) -> None:
    settle_board(RATE_LIMIT=0, USER_RATE_LIMIT=0, ADDRESS_RATE_LIMIT=0, CONNECT_RATE_LIMIT=0, **BY_HEADER)
    async with Wire(headers=(OWN, _from("8.8.8.8"))) as wire:
        assert await _count([wire], 500) == [500]
        from lightmoon_django.gateway import hub

        found = hub.current()
        assert found is not None
        assert not len(found.rates.addresses) + len(found.rates.connections)


def test_tables_are_bounded() -> None:
    """O(1) for each active key, and a bounded number of them; who asks often is kept."""
    table = Table("calls", 1.0, 2, lambda: 0.0, kept=100)
    table.take("busy")
    table.take("busy")
    for number in range(1000):
        table.of(f"10.0.0.{number}")
        if number % 50 == 0:
            table.of("busy")
    assert len(table) == 100
    with pytest.raises(Overloaded):
        table.check("busy")
    table.check("unknown")
    assert len(table) == 100


@pytest.mark.parametrize(
    ("connected", "told", "address"),
    [
        ("8.8.8.8", None, "8.8.8.8"),
        ("::ffff:8.8.8.8", None, "8.8.8.8"),
        ("2a00:1450:4001:81b::200e", None, "2a00:1450:4001:81b::/64"),
        ("2a00:1450:4001:81b:1:2:3:4", None, "2a00:1450:4001:81b::/64"),
        ("127.0.0.1", None, ""),
        ("10.1.2.3", None, ""),
        ("", None, ""),
        ("10.1.2.3", "1.1.1.1, 8.8.8.8", "8.8.8.8"),
        ("10.1.2.3", "10.9.9.9", "10.9.9.9"),
        ("10.1.2.3", "nonsense", "nonsense"),
        ("10.1.2.3", "8.8.8.8:4001", "8.8.8.8"),
        ("10.1.2.3", "[2a00:1450:4001:81b::200e]:4001", "2a00:1450:4001:81b::/64"),
        ("10.1.2.3", "2a00:1450:4001:81b::200e", "2a00:1450:4001:81b::/64"),
        ("8.8.8.8", "", "8.8.8.8"),
    ],
)
def test_which_address_counts(connected: str, told: str | None, address: str) -> None:
    """The same under ASGI and WSGI; what a client claims before the proxy's own word does not count."""
    rates = Rates(Settings(**(BY_HEADER if told is not None else {})), lambda: 0.0)
    headers = [] if told is None else [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", told.encode())]
    assert rates.address_of({"client": (connected, 1) if connected else None, "headers": headers}) == address
    meta = {"HTTP_X_FORWARDED_FOR": f"6.6.6.6,{told}"} if told else {}
    assert rates.address_in(RequestFactory(REMOTE_ADDR=connected, **meta).get("/").META) == address


def test_a_header_that_is_not_named_is_not_believed() -> None:
    rates = Rates(Settings(), lambda: 0.0)
    assert rates.address_of({"client": PUBLIC, "headers": [(b"x-forwarded-for", b"6.6.6.6")]}) == "8.8.8.8"
