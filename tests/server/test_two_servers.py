"""Two servers over one database: a client at each, and one room."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.databases import Databases
from tests.server.harness import Client, Server

Pair = tuple[Server, Server]


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def pair(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Pair]:
    """Servers of one machine; with "redis", of two."""
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(databases.open(request.param, tmp_path))
        if request.param == "redis":
            environment["LAYER_REDIS"] = stack.enter_context(services.redis_server()).url
        one, other = Server("uvicorn", environment), Server("uvicorn", environment)
        for server in (one, other):
            server.start()
            stack.callback(server.stop)
        yield one, other


def heard(client: Client, until: int) -> list[dict[str, Any]]:
    """What a client was told, up to that position of the stream."""
    while not client.notifications or client.notifications[-1]["params"].get("seq", until) < until:
        client.notifications.append(client.receive())
    found, client.notifications = client.notifications, []
    return found


def enter(client: Client, room: str) -> dict[str, Any]:
    found: dict[str, Any] = client.call("lm.subscribe", actor="server.Room", key=room)
    return found


def test_one_room_is_seen_from_both(pair: Pair) -> None:
    """B55: events and state reach both in order and without a gap, each before the reply of whoever caused it.

    And the caller's mark is on the state that it has made, wherever the actor is.
    """
    with pair[0].client() as here, pair[1].client() as there, pair[1].client() as beside:
        assert here.call("server.Room.say", key="a", text="first") == 1
        start = enter(here, "a")
        assert enter(there, "a")["state"] == {"lines": 1}
        marked = {"id": 0, "method": "server.Room.say", "params": ["a", "hello"], "mark": "mine"}
        there.send_raw(json.dumps({"jsonrpc": "2.0", **marked}))
        assert there.answer(0)["result"] == 2
        said, state = sorted(there.notifications, key=lambda one: one["method"])
        assert (said["method"], state["method"], state["params"]["mark"]) == ("lm.event", "lm.state", "mine")
        assert enter(beside, "a")["seq"] == start["seq"] + 2
        there.notifications.clear()
        assert here.call("server.Room.say_many", key="a", count=500) == 500
        end = start["seq"] + 502
        for client, first in ((here, start["seq"] + 1), (there, start["seq"] + 3), (beside, start["seq"] + 3)):
            frames = heard(client, end)
            assert [one["params"]["seq"] for one in frames] == list(range(first, end + 1))
            assert {one["params"]["epoch"] for one in frames} == {start["epoch"]}


def test_hooks_run_at_the_owner_for_each_session(pair: Pair) -> None:
    """9.12: on_subscribe and on_unsubscribe know the session, also of another server and when it just goes."""
    with pair[0].client() as here:
        assert here.call("server.Room.say", key="b", text="x") == 1
        with pair[1].client() as there, pair[1].client() as beside:
            enter(there, "b")
            position = enter(beside, "b")["seq"]
            there.call("lm.unsubscribe", actor="server.Room", key="b")
            assert there.call("server.Room.say", key="b", text="y") == 2
            assert there.notifications == []
            assert len(heard(beside, position + 2)) == 2
        until = time.monotonic() + 10
        while len(visits := here.call("server.Room.visits", key="b")) < 4:
            assert time.monotonic() < until, visits
        one, other = visits[0][1:], visits[1][1:]
        assert visits == [f"+{one}", f"+{other}", f"-{one}", f"-{other}"]
        assert one != other


def test_the_stream_is_reset_when_the_owner_dies(pair: Pair) -> None:
    """9.12, B58: SIGKILL of the owner; its followers elsewhere are told, and subscribe to what takes over."""
    with pair[1].client() as there:
        with pair[0].client() as here:
            assert here.call("server.Room.say", key="c", text="x") == 1
            before = enter(there, "c")
            pair[0].end(signal.SIGKILL)
        reset = there.receive()
        assert reset["method"] == "lm.reset"
        assert (reset["params"]["actor"], reset["params"]["key"]) == ("server.Room", "c")
        after = enter(there, "c")
        assert after["state"] == {"lines": 1}
        assert after["epoch"] > before["epoch"]
        assert there.call("server.Room.say", key="c", text="y") == 2
        assert json.dumps(there.notifications).count("lm.event") == 1


def test_a_bad_layer_and_a_flushed_redis_leave_no_gap(databases: Databases, tmp_path: Path) -> None:
    """B44, B55, B56: casts get lost, come twice and late, and Redis forgets everything, while a room talks."""
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(services.redis_server())
        environment = {**databases.sqlite(tmp_path), "LAYER_REDIS": redis.url, "LAYER_LOSSES": "5"}
        one, other = Server("uvicorn", environment), Server("uvicorn", environment)
        for server in (one, other):
            server.start()
            stack.callback(server.stop)
        here = stack.enter_context(one.client())
        assert here.call("server.Room.say", key="a", text="first") == 1
        guests = [stack.enter_context(other.client()) for _ in range(2)]
        start = [enter(guest, "a")["seq"] for guest in guests]
        for number in range(2, 62):
            speaker = (here, guests[0])[number % 2]  # one of them hears itself, before its reply
            assert speaker.call("server.Room.say", key="a", text="x") == number
            if number in (20, 40):
                redis.flush()
        end = start[0] + 120
        for guest, first in zip(guests, start, strict=True):
            frames = heard(guest, end)
            assert [one["params"]["seq"] for one in frames] == list(range(first + 1, end + 1))
        again = stack.enter_context(other.client())  # who was away in the meantime
        since = {"epoch": frames[0]["params"]["epoch"], "seq": start[0]}
        found = again.call("lm.subscribe", actor="server.Room", key="a", since=since)
        assert found["recovered"]
        assert [one["seq"] for one in found["events"]] == list(range(start[0] + 1, end + 1))
        assert here.call("server.Room.say", key="a", text="and on") == 62
        assert [one["params"]["seq"] for one in heard(again, end + 2)] == [end + 1, end + 2]
