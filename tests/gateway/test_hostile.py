"""Whatever a client sends, the session lives."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightmoon_django import host
from lightmoon_django.actor import registry
from lightmoon_django.conf import Settings
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.wire import Wire

DESK = registry.name_of(Desk)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
methods = st.sampled_from(
    [f"{DESK}.{name}" for name in ("add", "price", "refuse", "large", "hidden", "members", "__init__")]
    + ["lm.hello", "lm.subscribe", "lm.unsubscribe", "lm.ping", "$/cancelRequest", "$/x", ""]
)
ids = st.text(max_size=5) | st.integers() | st.floats() | values
params = values | st.fixed_dictionaries(
    {"key": st.text(max_size=3) | values}, optional={"amount": values, "size": values}
)
requests = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | values, "method": methods | values},
    optional={"id": ids, "params": params, "x": values},
)
texts = st.one_of(
    st.text(),
    values.map(json.dumps),
    requests.map(json.dumps),
    st.lists(requests | values, max_size=4).map(json.dumps),
    st.tuples(requests.map(json.dumps), st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]]),
)
frames = texts | st.binary()


def check_answer(frame: Any) -> None:
    """A frame from the server is well-formed JSON-RPC and tells no secrets."""
    if isinstance(frame, list):
        assert frame
        for one in frame:
            assert "method" not in one
            check_answer(one)
        return
    assert frame["jsonrpc"] == "2.0"
    if "method" in frame:
        assert "id" not in frame
        return
    assert ("result" in frame) != ("error" in frame)
    assert frame["id"] is None or isinstance(frame["id"], (str, int, float))
    if "error" in frame:
        error = frame["error"]
        assert isinstance(error["code"], int)
        assert isinstance(error["message"], str)
        assert isinstance(error["data"]["type"], str)
        assert isinstance(error["data"]["retryable"], bool)
        assert error["code"] != 5000, frame
        assert "Traceback" not in json.dumps(frame)


async def survive(sent: list[str | bytes]) -> None:
    board = Board(dataclasses.replace(Settings(), MAX_REQUEST_BYTES=5000, RATE_LIMIT=0))
    with mock.patch.object(host, "switchboard", return_value=board):
        async with Wire() as wire:
            for frame in sent:
                wire.binary(frame) if isinstance(frame, bytes) else wire.text(frame)
            assert await wire.call(f"{DESK}.add", {"key": "the good one"}, id="the good one, after all") == 1
            for answer in wire.frames:
                check_answer(answer)


@settings(max_examples=150, deadline=None)
@given(st.lists(frames, max_size=8))
@example(["[" * 4999])
@example(['{"jsonrpc":"2.0","id":1e999,"method":"lm.ping"}'])
@example(['{"jsonrpc":"2.0","id":"\\ud800","method":"lm.ping"}'])
@example([f'{{"jsonrpc":"2.0","id":1,"method":"{DESK}.price","params":["1","1e999999999"]}}'])
@example([f'{{"jsonrpc":"2.0","id":1,"method":"{DESK}.price","params":["1","NaN"]}}'])
@example([f'{{"jsonrpc":"2.0","id":1,"method":"{DESK}.price","params":["1","1","\\u0000"]}}'])
@example([f'{{"jsonrpc":"2.0","id":1,"method":"{DESK}.add","params":["1",9007199254740993]}}'])
@example([f'{{"jsonrpc":"2.0","id":1,"method":"{DESK}.add","params":["\\u0000"]}}'])
def test_any_frames_leave_a_session_that_answers(sent: list[str | bytes]) -> None:
    """B23: well-formed answers or none, and the next good call succeeds."""
    asyncio.run(survive(sent))
