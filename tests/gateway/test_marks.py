"""A client tells the state that its call has made by the mark that it put on the call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.errors import InvalidRequest
from tests.gateway.actors import Lot, Table, Tally
from tests.gateway.wire import Wire, eventually

LOT, TABLE, TALLY = (registry.name_of(one) for one in (Lot, Table, Tally))

pytestmark = pytest.mark.django_db(transaction=True)


async def marked(wire: Wire, method: str, params: Any, mark: Any, id: str = "m") -> Any:
    """The answer to a call that carries a mark."""
    wire.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params, "mark": mark})
    return await wire.answer(id)


async def follow(wire: Wire, actor: str, **more: Any) -> Any:
    return await wire.call("lm.subscribe", {"actor": actor, "key": "1", **more})


def told(wire: Wire, method: str = "lm.state") -> list[Any]:
    """The marks of what came, `None` where there is none."""
    found = [one["params"].get("mark") for one in wire.frames if one.get("method") == method]
    wire.frames = [one for one in wire.frames if one.get("method") != method]
    return found


async def test_the_state_that_a_call_has_made_has_its_mark_for_all_who_follow(node: Callable[[], Any]) -> None:
    """Before the answer; that of another call has none, and neither have events."""
    async with Wire() as one, Wire() as two:
        for wire in (one, two):
            await follow(wire, TABLE)
        assert "error" not in await marked(one, f"{TABLE}.bet", ["1"], 'a"b')
        assert (told(one), told(one, "lm.event")) == (['a"b'], [None])
        await two.call(f"{TABLE}.bet", ["1"])
        assert told(two) == ['a"b', None]


async def test_the_calls_of_a_batch_have_their_own_marks_and_one_that_fails_shows_none(node: Callable[[], Any]) -> None:
    async with Wire() as wire:
        await follow(wire, TABLE)
        calls = [{"jsonrpc": "2.0", "id": x, "method": f"{TABLE}.bet", "params": ["1"], "mark": x} for x in ("a", "b")]
        wire.send(calls)
        await eventually(lambda: any(isinstance(one, list) for one in wire.frames), "the batch's answers")
        wire.frames = [one for one in wire.frames if isinstance(one, dict)]
        assert told(wire) == ["a", "b"]
        assert (await marked(wire, f"{TABLE}.bet", ["1", "much"], "c"))["error"]["code"] == -32602
        assert told(wire) == []


async def test_each_who_sees_something_else_is_told_the_mark(node: Callable[[], Any]) -> None:
    """Also with a skip, and who comes back later: the state that it gets has that call."""
    async with Wire() as one, Wire() as two:
        await follow(one, LOT)
        position = await follow(two, LOT)
        await marked(one, f"{LOT}.alter", {"key": "1", "title": "Vase"}, "a")
        assert told(one) == ["a"]
        await two.call("lm.ping")
        await two.call("lm.unsubscribe", [LOT, "1"])
        found = await follow(two, LOT, since={"epoch": position["epoch"], "seq": position["seq"]})
        assert [event["mark"] for event in found["events"]] == ["a"]
        assert found["state"]["title"] == "Vase"


async def test_who_comes_back_finds_the_marks_in_what_was_missed(node: Callable[[], Any]) -> None:
    async with Wire() as one, Wire() as two:
        await follow(one, TALLY)
        position = await follow(two, TALLY)
        await two.call("lm.unsubscribe", [TALLY, "1"])
        await marked(one, f"{TALLY}.add", ["1"], "a")
        await one.call(f"{TALLY}.add", ["1"])
        found = await follow(two, TALLY, since={"epoch": position["epoch"], "seq": position["seq"]})
        assert [event.get("mark") for event in found["events"]] == ["a", None]


@pytest.mark.parametrize("mark", [7, None, {}, "x" * 17])
async def test_what_is_no_mark_is_refused_and_nothing_runs(node: Callable[[], Any], mark: Any) -> None:
    """All who follow would get it: so it is short."""
    async with Wire() as wire:
        before = (await follow(wire, LOT))["seq"]
        answer = await marked(wire, f"{LOT}.alter", {"key": "1", "title": "Vase"}, mark)
        assert answer["error"]["code"] == InvalidRequest.rpc_code
        assert json.dumps(answer).count("mark") == 1
        assert (await follow(wire, LOT))["seq"] == before
