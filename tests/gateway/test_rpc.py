"""JSON-RPC over a WebSocket."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from lightmoon_django.actor import registry
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.wire import Wire, eventually

DESK = registry.name_of(Desk)


async def test_a_call_by_name_is_answered(wire: Wire) -> None:
    async with wire:
        assert await wire.call(f"{DESK}.add", {"key": "1", "amount": 5}) == 5


async def test_a_call_by_position_is_answered(wire: Wire) -> None:
    async with wire:
        assert await wire.call(f"{DESK}.price", ["1", "12.50"]) == "12.50"


async def test_a_padded_null_by_position_is_an_absent_argument(wire: Wire) -> None:
    async with wire:
        assert await wire.call(f"{DESK}.add", ["1", None]) == 1


async def test_calls_of_one_session_to_one_actor_run_in_the_order_sent(wire: Wire) -> None:
    async with wire:
        ids = [wire.ask(f"{DESK}.add", ["1"]) for _ in range(300)]
        assert [(await wire.answer(id))["result"] for id in ids] == list(range(1, 301))


async def test_a_notification_runs_and_is_not_answered(wire: Wire, board: Board) -> None:
    async with wire:
        wire.notify(f"{DESK}.add", ["1", 2])
        assert await wire.call(f"{DESK}.add", ["1"]) == 3
        assert wire.frames == []


async def test_a_wrong_notification_is_not_answered(wire: Wire) -> None:
    async with wire:
        wire.notify(f"{DESK}.nothing", ["1"])
        wire.notify(f"{DESK}.add", {"amount": "many"})
        wire.notify(f"{DESK}.refuse", ["1"])
        assert await wire.call("lm.ping") is None
        assert wire.frames == []


async def test_an_id_of_null_is_answered_and_no_id_is_not(wire: Wire) -> None:
    async with wire:
        wire.text(f'{{"jsonrpc":"2.0","id":null,"method":"{DESK}.add","params":["1"]}}')
        assert await wire.next() == {"jsonrpc": "2.0", "id": None, "result": 1}


@pytest.mark.parametrize("id", ["text", 'ünïcode "quoted"\n', 7, -1, 1.5, 0])
async def test_an_id_comes_back_as_it_was(wire: Wire, id: Any) -> None:
    async with wire:
        assert await wire.call(f"{DESK}.add", ["1"], id=id) == 1


@pytest.mark.parametrize("id", ["[1]", "{}", "true"])
async def test_an_id_of_another_type_is_an_invalid_request(wire: Wire, board: Board, id: str) -> None:
    async with wire:
        wire.text(f'{{"jsonrpc":"2.0","id":{id},"method":"{DESK}.add","params":["1"]}}')
        frame = await wire.next()
        assert (frame["id"], frame["error"]["code"]) == (None, -32600)
        assert board.posted == []


async def test_a_declared_error_arrives_with_code_message_and_data(wire: Wire) -> None:
    """B18: its type, message and data reach the client."""
    async with wire:
        assert await wire.error(f"{DESK}.refuse", ["1"]) == {
            "code": 4001,
            "message": "Not today.",
            "data": {"type": "not_today", "retryable": False, "detail": {"try": "tomorrow"}},
        }


async def test_an_undeclared_error_arrives_without_its_secret(wire: Wire) -> None:
    """B18: an id and no detail."""
    async with wire:
        error = await wire.error(f"{DESK}.stumble", ["1"])
        assert (error["code"], error["data"]["type"]) == (5000, "internal")
        assert error["data"]["error_id"]
        assert "secret" not in json.dumps(error)


async def test_a_failure_of_the_gateway_itself_is_logged_and_hidden(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """B18: also where no actor's code failed."""
    async with wire:
        with caplog.at_level(logging.CRITICAL, "lightmoon.gateway"):
            error = await wire.error(f"{DESK}.broken", ["1"])
        assert error["code"] == 5000
        assert "secret" not in json.dumps(error)
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


@pytest.mark.parametrize(
    "params",
    [
        {"key": "1", "amount": "x"},
        {"key": "1", "amont": 1},
        {"amount": 1},
        ["1", 1, 2],
        [],
        {},
        {"key": 1},
        {"key": ""},
    ],
)
async def test_arguments_that_do_not_fit_are_refused(wire: Wire, board: Board, params: Any) -> None:
    """B19: the caller is told, and the actor stays usable."""
    async with wire:
        assert (await wire.error(f"{DESK}.add", params))["code"] == -32602
        assert board.posted == []
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


async def test_the_path_of_a_wrong_argument_is_named(wire: Wire) -> None:
    async with wire:
        assert (await wire.error(f"{DESK}.add", {"key": "1", "amount": "x"}))["data"]["path"] == "$.amount"


async def test_params_that_are_no_structure_are_an_invalid_request(wire: Wire) -> None:
    async with wire:
        assert (await wire.error(f"{DESK}.add", "text"))["code"] == -32600


@pytest.mark.parametrize(
    "method",
    [
        f"{DESK}.hidden",
        f"{DESK}.plain",
        f"{DESK}.nothing",
        f"{DESK}.__init__",
        f"{DESK}.__class__",
        f"{DESK}.add.__call__",
        f"{DESK}.lm.subscribe",
        f"{DESK}.count",
        f"{DESK}.",
        f"{DESK}.rung",
        "add",
        "",
        ".",
        "lm.nothing",
        "rpc.nothing",
        "$/nothing",
        "actors.Cellar.dig",
        "django.core.management.call_command",
    ],
)
async def test_unknown_private_and_unexposed_methods_look_alike(wire: Wire, board: Board, method: str) -> None:
    """B20: refused in the same words, never run."""
    async with wire:
        error = await wire.error(method, ["1"])
        assert error == {
            "code": -32601,
            "message": f"There is no method {method!r}.",
            "data": {"type": "method_not_found", "retryable": False},
        }
        assert board.posted == []


async def test_unknown_dollar_notifications_are_ignored(wire: Wire) -> None:
    async with wire:
        wire.notify("$/setTrace", {"value": "off"})
        wire.notify("$/cancelRequest", {"id": "no such call"})
        assert await wire.call("lm.ping") is None
        assert wire.frames == []


async def test_a_request_over_the_limit_is_a_precise_error(settle_board: Callable[..., Board]) -> None:
    """B21: and the connection lives."""
    settle_board(MAX_REQUEST_BYTES=1000)
    async with Wire() as wire:
        wire.ask(f"{DESK}.price", {"key": "1", "amount": "1", "note": "x" * 1000})
        frame = await wire.next()
        assert (frame["id"], frame["error"]["code"]) == (None, 4013)
        wire.text('{"jsonrpc":"2.0","id":1,"method":"' + "é" * 600 + '"}')  # 600 characters, 1200 bytes
        assert (await wire.next())["error"]["code"] == 4013
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


async def test_a_response_over_the_limit_is_a_precise_error(settle_board: Callable[..., Board]) -> None:
    """B21: with the id of its call, and the connection lives."""
    settle_board(MAX_RESPONSE_BYTES=1000)
    async with Wire() as wire:
        assert (await wire.error(f"{DESK}.large", ["1", 2000]))["code"] == 4013
        assert await wire.call(f"{DESK}.large", ["1", 10]) == "x" * 10


BAD = [
    "",
    " ",
    "nonsense",
    "{",
    '{"jsonrpc":"2.0"',
    "null",
    "1",
    '"text"',
    "[]",
    "[1]",
    "{}",
    '{"jsonrpc":"1.0","id":1,"method":"x"}',
    '{"id":1,"method":"x"}',
    '{"jsonrpc":"2.0","id":1}',
    '{"jsonrpc":"2.0","id":1,"method":5}',
    '{"jsonrpc":"2.0","id":1,"method":"' + "x" * 10_000 + '"}',
    "[" * 100_000,
    '{"jsonrpc":"2.0","id":1,"method":"x","params":' + "[" * 50_000 + "]" * 50_000 + "}",
    '{"jsonrpc":"2.0","id":1,"method":"x","params":' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize("frame", BAD)
async def test_a_bad_frame_is_answered_and_the_session_lives(wire: Wire, frame: str) -> None:
    async with wire:
        wire.text(frame)
        found = await wire.next()
        found = found[0] if isinstance(found, list) else found
        assert found["error"]["code"] in (-32700, -32600, -32601)
        assert "Traceback" not in json.dumps(found)
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


@pytest.mark.parametrize("note", ['"\\ud83d"', "[" * 50_000 + "]" * 50_000], ids=["half a character", "too deep"])
async def test_a_request_that_can_not_be_read_is_answered_with_its_id(wire: Wire, board: Board, note: str) -> None:
    """B19, B74: its caller waits for that id. A text that was cut within an emoji is enough."""
    async with wire:
        for id in ('"a-1"', "7"):
            wire.text(f'{{"jsonrpc":"2.0","id":{id},"method":"{DESK}.price","params":["1","1",{note}]}}')
            assert (await wire.answer(json.loads(id)))["error"]["code"] == -32700
        assert board.posted == []


async def test_after_a_thousand_bad_messages_a_good_one_succeeds(wire: Wire) -> None:
    """B23."""
    async with wire:
        for number in range(1000):
            wire.text(BAD[number % len(BAD)])
        assert await wire.call(f"{DESK}.add", ["1"], id="the good one") == 1
        assert len(wire.frames) == 1000


async def test_a_binary_frame_is_refused_and_the_session_lives(wire: Wire) -> None:
    async with wire:
        wire.binary(b"\xff\x00")
        assert (await wire.next())["error"]["code"] == -32700
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


async def test_a_malformed_request_is_answered_with_its_id(wire: Wire) -> None:
    async with wire:
        for frame in ('{"jsonrpc":"2.0","id":"a","method":5}', '{"jsonrpc":"3.0","id":"a","method":"x"}'):
            wire.text(frame)
            assert (await wire.answer("a"))["error"]["code"] == -32600


async def test_an_answer_to_nothing_is_ignored(wire: Wire) -> None:
    async with wire:
        wire.send({"jsonrpc": "2.0", "id": 1, "result": 5})
        wire.send({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}})
        assert await wire.call("lm.ping", id="after") is None
        assert wire.frames == []


async def test_a_batch_is_answered_as_one_array(wire: Wire) -> None:
    async with wire:
        wire.send(
            [
                {"jsonrpc": "2.0", "id": 1, "method": f"{DESK}.add", "params": ["1"]},
                {"jsonrpc": "2.0", "method": f"{DESK}.add", "params": ["1"]},
                {"jsonrpc": "2.0", "id": "b", "method": f"{DESK}.add", "params": ["1"]},
                {"jsonrpc": "2.0", "id": 3, "method": "nothing"},
                {"jsonrpc": "2.0", "id": 4, "method": f"{DESK}.members", "params": ["1"]},
                5,
            ]
        )
        frame = await wire.next()
        by_id = {answer["id"]: answer.get("result", answer.get("error", {}).get("code")) for answer in frame}
        assert by_id == {1: 1, "b": 3, 3: -32601, 4: "in", None: -32600}


async def test_a_batch_of_notifications_is_not_answered(wire: Wire) -> None:
    async with wire:
        wire.send([{"jsonrpc": "2.0", "method": f"{DESK}.add", "params": ["1"]}] * 2)
        assert await wire.call(f"{DESK}.add", ["1"]) == 3
        assert wire.frames == []


async def test_an_empty_batch_is_an_invalid_request(wire: Wire) -> None:
    async with wire:
        wire.text("[]")
        frame = await wire.next()
        assert (frame["id"], frame["error"]["code"]) == (None, -32600)


async def test_a_batch_that_is_too_long_is_refused_whole(wire: Wire, board: Board) -> None:
    async with wire:
        wire.send([{"jsonrpc": "2.0", "method": f"{DESK}.add", "params": ["1"]}] * 1001)
        assert (await wire.next())["error"]["code"] == 4013
        assert board.posted == []


async def test_the_answers_of_a_batch_are_bounded_together(settle_board: Callable[..., Board]) -> None:
    """B21: a small batch can't make an answer without a limit."""
    settle_board(MAX_RESPONSE_BYTES=5000)
    async with Wire() as wire:
        wire.send([{"jsonrpc": "2.0", "id": n, "method": f"{DESK}.large", "params": ["1", 2000]} for n in range(5)])
        frame = await wire.next()
        assert ["result" in answer for answer in frame] == [True, True, False, False, False]
        assert frame[4]["error"]["code"] == 4013
        assert frame[4]["id"] == 4


async def test_more_calls_than_the_rate_allows_are_refused_with_a_time(settle_board: Callable[..., Board]) -> None:
    board = settle_board(RATE_LIMIT=1.0, RATE_BURST=5)
    async with Wire() as wire:
        ids = [wire.ask(f"{DESK}.add", ["1"]) for _ in range(8)]
        answers = [await wire.answer(id) for id in ids]
        assert ["result" in answer for answer in answers] == [True] * 5 + [False] * 3
        error = answers[-1]["error"]
        assert (error["code"], error["data"]["type"], error["data"]["retryable"]) == (4029, "overloaded", True)
        assert 0 < error["data"]["retry_after"] <= 1
        assert len(board.posted) == 5


async def test_a_call_that_is_cancelled_before_its_start_never_runs(wire: Wire, board: Board) -> None:
    """B51: queued."""
    board.hold = True
    async with wire:
        wire.ask(f"{DESK}.add", ["1"], id="a")
        wire.notify("$/cancelRequest", {"id": "a"})
        assert (await wire.answer("a"))["error"]["code"] == -32800
        board.release()
        assert await wire.call(f"{DESK}.add", ["1"]) == 1


@pytest.mark.parametrize("id", ["text", 9])
async def test_a_running_call_that_is_cancelled_ends(wire: Wire, board: Board, id: Any) -> None:
    """B51: running."""
    async with wire:
        wire.ask(f"{DESK}.wait", ["1"], id=id)
        await eventually(lambda: board.posted, "the call to start")
        wire.notify("$/cancelRequest", {"id": id})
        assert (await wire.answer(id))["error"]["code"] == -32800


async def test_a_client_that_goes_takes_its_asks_back(wire: Wire, board: Board) -> None:
    """B51: the client is gone."""
    cancelled: list[Any] = []
    board.cancel = cancelled.append  # type: ignore[method-assign]
    async with wire:
        wire.ask(f"{DESK}.wait", ["1"])
        await eventually(lambda: board.posted, "the call to start")
    assert cancelled == board.posted


async def test_hello_tells_what_the_client_must_know(wire: Wire) -> None:
    async with wire:
        found = await wire.call("lm.hello", {"protocol": 1, "client": "test"})
        assert (found["protocol"], found["recovered"], found["heartbeat"]) == (1, False, 25.0)
        assert found["limits"]["request_bytes"] == 1024 * 1024
        assert found["session"]
        assert found["schema"]
        again = await wire.call("lm.hello", {"protocol": 1, "schema": found["schema"], "session": found["session"]})
        assert again["recovered"] is False


@pytest.mark.parametrize("params", [{"protocol": 2}, {"protocol": 1, "schema": "stale"}])
async def test_another_protocol_or_schema_is_an_explicit_error(wire: Wire, params: Any) -> None:
    async with wire:
        assert (await wire.error("lm.hello", params))["code"] == 4026
        assert await wire.call("lm.ping") is None


async def test_discover_returns_the_openrpc_document(wire: Wire) -> None:
    async with wire:
        found = await wire.call("rpc.discover")
        assert found["openrpc"].startswith("1.")
        assert f"{DESK}.hidden" not in json.dumps(found)


async def test_a_client_that_vanishes_while_it_is_answered_ends_quietly(wire: Wire, board: Board) -> None:
    async with wire:
        wire.gone = True
        wire.ask(f"{DESK}.add", ["1"])
        await eventually(lambda: board.posted, "the call")
        await asyncio.sleep(0)
    assert wire.task is not None
    assert wire.task.exception() is None
