"""Whatever a client sends, the session lives."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightmoon_django import host
from lightmoon_django.actor import registry
from lightmoon_django.conf import Settings
from tests.app.models import Scroll
from tests.gateway.actors import Desk, Foyer
from tests.gateway.board import Board
from tests.gateway.wire import PATIENCE, Wire, eventually

DESK, FOYER = registry.name_of(Desk), registry.name_of(Foyer)

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


async def test_a_long_name_with_many_values_is_read_at_once(wire: Wire, board: Board) -> None:
    """Nobody has to be anybody for it, nothing counts it, and while it is read the node does nothing else."""
    meta = f'{{"{"k" * 500_000}":[{",".join("0" * 240_000)}]}}'
    async with wire:
        began = time.monotonic()
        for _ in range(4):
            wire.text(f'{{"jsonrpc":"2.0","id":"x","method":"lm.subscribe","params":["{FOYER}","1",null,{meta}]}}')
        await wire.call("lm.ping")
        assert time.monotonic() - began < PATIENCE  # it took three times as long, and takes a tenth
        assert [one["error"]["code"] for one in wire.frames] == [-32602] * 4


async def test_values_that_are_too_deep_are_refused_at_every_depth(wire: Wire, board: Board) -> None:
    """B23: also of those that are just shallow enough to be decoded."""
    async with wire:
        for depth in range(200, 1000):
            meta = f'{{"a":{"[" * depth}{"]" * depth}}}'
            wire.text(f'{{"jsonrpc":"2.0","id":"x","method":"lm.subscribe","params":["{FOYER}","1",null,{meta}]}}')
        await wire.call("lm.ping")
        assert {one["error"]["code"] for one in wire.frames} <= {-32602, -32700}


@pytest.mark.parametrize(
    ("when", "taken"),
    [
        ("0001-01-01T00:00:00+00:00", True),
        ("0001-01-01T00:00:00+23:59", False),
        ("9999-12-31T23:59:59Z", True),
        ("9999-12-31T23:59:59-00:01", False),
    ],
)
async def test_a_moment_that_no_database_gives_back_is_refused(
    wire: Wire, board: Board, when: str, taken: bool
) -> None:
    """B74: PostgreSQL stores it, and whoever reads the row after that gets an error for ever."""
    async with wire:
        if taken:
            assert await wire.call(f"{DESK}.remind", ["1", when]) == "yes"
        else:
            error = await wire.error(f"{DESK}.remind", ["1", when])
            assert (error["code"], error["data"]["path"]) == (-32602, "$.when")


async def test_nothing_is_kept_of_long_keys(node: Callable[[], Any]) -> None:
    """Neither that they are good ones, nor what permission classes said of them."""
    scroll = registry.name_of(Scroll)
    async with Wire() as wire:
        assert (await wire.error(f"{scroll}.read", ["x"]))["code"] == 4004
        tracemalloc.start()
        try:
            for number in range(50):
                assert (await wire.error(f"{scroll}.read", [f"{number:0100000}"]))["code"] == 4004
            wire.sent.clear()
            await eventually(lambda: _long_texts() < 10, f"their end; there are {_long_texts()}")
        finally:
            tracemalloc.stop()


def _long_texts() -> int:
    """How many of those that were made since `tracemalloc` looks are in memory."""
    gc.collect()
    return sum(one.size > 90_000 for one in tracemalloc.take_snapshot().traces)
