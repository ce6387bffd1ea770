"""A string id is its call's idempotency key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import override_settings

from lightmoon_django.actor import registry
from lightmoon_django.errors import Overloaded
from lightmoon_django.gateway import registry as live
from lightmoon_django.gateway.answers import Answers
from lightmoon_django.gateway.limits import COPIES, KEPT_ANSWERS
from tests.gateway.actors import Club, Desk, Member
from tests.gateway.board import Board
from tests.gateway.exchange import SESSION, Exchange, hello, request
from tests.gateway.people import BY_NAME, make_user
from tests.gateway.wire import Wire, eventually

DESK, CLUB = registry.name_of(Desk), registry.name_of(Club)


async def test_an_equal_id_in_flight_runs_once_and_answers_every_copy(wire: Wire, board: Board) -> None:
    board.hold = True
    async with wire:
        for _ in range(3):
            wire.ask(f"{DESK}.add", ["1"], id="a")
        wire.ask(f"{DESK}.add", ["2"], id="other")
        await eventually(lambda: len(board.posted) == 2, "both calls")
        board.release()
        assert [(await wire.answer("a"))["result"] for _ in range(3)] == [1, 1, 1]
        assert len(board.posted) == 2


async def test_copies_of_a_call_in_flight_are_bounded(wire: Wire, board: Board) -> None:
    """No rate counts them, and each holds something until the call has ended."""
    board.hold = True
    async with wire:
        for _ in range(COPIES + 3):
            wire.ask(f"{DESK}.add", ["1"], id="a")
        refused = [(await wire.answer("a"))["error"] for _ in range(2)]
        assert [(one["code"], one["data"]["retryable"]) for one in refused] == [(4029, True)] * 2
        board.release()
        assert [(await wire.answer("a"))["result"] for _ in range(COPIES + 1)] == [1] * (COPIES + 1)
        assert len(board.posted) == 1


async def test_an_id_sent_again_gets_the_first_answer(wire: Wire, board: Board) -> None:
    async with wire:
        for _ in range(3):
            assert await wire.call(f"{DESK}.add", ["1"], id="a") == 1
        assert await wire.call(f"{DESK}.add", ["1"], id="b") == 2


async def test_a_declared_error_is_given_again_too(wire: Wire, board: Board) -> None:
    async with wire:
        for _ in range(2):
            assert (await wire.error(f"{DESK}.refuse", ["1"], id="a"))["code"] == 4001
        assert board.ran("refuse") == 1


async def test_a_call_that_may_be_retried_runs_again(wire: Wire, board: Board) -> None:
    async with wire:
        board.hold = True
        wire.ask(f"{DESK}.add", ["1"], id="a")
        await eventually(lambda: board.posted, "the call")
        board.posted[0].reject(Overloaded("Later."))
        assert (await wire.answer("a"))["error"]["data"]["retryable"] is True
        wire.ask(f"{DESK}.add", ["1"], id="a")
        await eventually(lambda: len(board.posted) == 2, "the second attempt")


async def test_the_same_id_with_other_params_is_refused(wire: Wire, board: Board) -> None:
    """B80: answered before, in flight, and with another method."""
    async with wire:
        assert await wire.call(f"{DESK}.add", ["1"], id="a") == 1
        assert (await wire.error(f"{DESK}.add", ["1", 2], id="a"))["code"] == -32600
        assert (await wire.error(f"{DESK}.price", ["1", "1"], id="a"))["code"] == -32600
        board.hold = True
        wire.ask(f"{DESK}.add", ["1"], id="b")
        assert (await wire.error(f"{DESK}.add", ["2"], id="b"))["code"] == -32600
        assert (await wire.error("lm.subscribe", [DESK, "1"], id="b"))["code"] == -32600
        board.release()
        assert (await wire.answer("b"))["result"] == 2


async def test_integer_ids_are_not_remembered(wire: Wire) -> None:
    async with wire:
        assert await wire.call(f"{DESK}.add", ["1"], id=1) == 1
        assert await wire.call(f"{DESK}.add", ["1"], id=1) == 2
        assert await wire.call(f"{DESK}.add", ["1", 5], id=1) == 7


async def test_an_id_belongs_to_its_session(board: Board) -> None:
    async with Wire() as one, Wire() as other:
        assert await one.call(f"{DESK}.add", ["1"], id="a") == 1
        assert await other.call(f"{DESK}.add", ["1"], id="a") == 2


@pytest.mark.django_db(transaction=True)
@override_settings(REST_FRAMEWORK=BY_NAME)
async def test_an_id_belongs_to_its_user(board: Board) -> None:
    """B50, B60: who logs in after somebody else on the same connection is not given that one's answers."""
    for name in ("ada", "bob"):
        await sync_to_async(make_user)(name)
    async with Wire(headers=()) as wire:
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        assert await wire.call(f"{DESK}.private", ["1"], id="answered") == "in"
        board.hold = True
        wire.ask(f"{DESK}.private", ["1"], id="in flight")
        await eventually(lambda: len(board.posted) == 2, "the call")
        live.sessions()[0].sign_out("token")
        await wire.call("lm.hello", {"protocol": 1, "token": "Name bob"})
        for id in ("answered", "in flight"):
            assert (await wire.error(f"{DESK}.private", ["1"], id=id))["code"] == -32600
        board.release()
        assert (await wire.answer("in flight"))["result"] == "in"
        live.sessions()[0].sign_out("token")
        await wire.call("lm.hello", {"protocol": 1, "token": "Name ada"})
        assert await wire.call(f"{DESK}.private", ["1"], id="answered") == "in"
        assert len(board.posted) == 2


async def test_copies_in_a_batch_are_answered_there(wire: Wire, board: Board) -> None:
    request = {"jsonrpc": "2.0", "id": "a", "method": f"{DESK}.add", "params": ["1"]}
    async with wire:
        wire.send([request, request])
        assert [one["result"] for one in await wire.next()] == [1, 1]
        assert len(board.posted) == 1


async def test_at_least_the_last_64_answers_are_kept(wire: Wire) -> None:
    async with wire:
        for number in range(2 * KEPT_ANSWERS):
            await wire.call(f"{DESK}.add", ["1"], id=f"a{number}")
        assert await wire.call(f"{DESK}.add", ["1"], id="a64") == 65
        assert await wire.call(f"{DESK}.add", ["1"], id="a63") == 129


async def test_kept_answers_are_bounded_in_bytes(settle_board: Callable[..., Board]) -> None:
    settle_board(OUTBOX_BYTES=10_000)
    async with Wire() as wire:
        await wire.call(f"{DESK}.add", ["1"], id="first")
        for number in range(3):
            await wire.call(f"{DESK}.large", ["1", 4000], id=f"large{number}")
        assert await wire.call(f"{DESK}.add", ["1"], id="first") == 2


def test_an_answer_larger_than_the_memory_is_not_kept() -> None:
    answers = Answers(limit=10)
    answers.keep("a", 1, "x" * 11)
    answers.keep("b", 1, "x" * 5)
    assert answers.find("a") is None
    assert answers.find("b") == (1, "x" * 5)


async def test_an_id_is_free_again_after_its_session(board: Board) -> None:
    async with Wire() as wire:
        wire.ask(f"{DESK}.wait", ["1"], id="a")
        await eventually(lambda: board.posted, "the call")
        await asyncio.sleep(0)
    async with Wire() as wire:
        assert await wire.call(f"{DESK}.add", ["1"], id="a") == 1


async def test_a_number_in_flight_names_one_call(wire: Wire, board: Board) -> None:
    """B80: a second one would leave the first behind, to be neither cancelled nor ended with the connection."""
    async with wire:
        board.hold = True
        wire.ask(f"{DESK}.wait", ["1"], id=5)
        wire.ask(f"{DESK}.wait", ["2"], id=5)
        assert (await wire.answer(5))["error"]["code"] == -32600
        assert len(board.posted) == 1


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("method", [f"{DESK}.members", "lm.subscribe"])
async def test_a_copy_that_comes_while_the_first_one_is_judged_runs_nothing(
    board: Board, monkeypatch: pytest.MonkeyPatch, method: str, together: bool
) -> None:
    """B50: over HTTP requests overtake each other; whichever is judged first runs, the other gets its answer."""
    waits: list[threading.Event] = []

    def has_permission(*_: Any) -> bool:
        waits.append(threading.Event())
        return waits[-1].wait(10)

    monkeypatch.setattr(Member, "has_permission", has_permission)
    token = (await hello())["session"]
    body = request(method, [CLUB, "1"] if method == "lm.subscribe" else ["1"], id="a")
    asked = []
    for number in (1, 2):
        asked.append(Exchange(body, (SESSION, token.encode())))
        await eventually(lambda count=number: len(waits) == count, "its judgement")  # type: ignore[misc]
    board.hold = together
    waits[0].set()
    if together:
        await eventually(lambda: board.posted, "the first one")
    else:
        await asked[0].done()
    waits[1].set()
    if together:
        (session,) = live.sessions()
        await eventually(lambda: next(iter(session._calls.values())).copies, "the second one")
        board.release()
    answers = [(await one.done()).json["result"] for one in asked]
    if method != "lm.subscribe":
        assert answers == ["in", "in"]
        assert len(board.posted) == 1
    elif together:
        assert answers[0] == answers[1]
