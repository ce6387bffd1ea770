"""The Python client against a real server, through a network that breaks."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lightmoon_django.client import Actor, Client, Event, State, StreamReset, connect
from lightmoon_django.errors import (
    Forbidden,
    InternalError,
    InvalidParams,
    MethodNotFound,
    OutcomeUnknown,
    Rejected,
    TooLarge,
    Unavailable,
    UpgradeNeeded,
    UsageError,
)
from tests.browser.proxy import Proxy
from tests.client.conftest import Dial
from tests.server.harness import Server

MORE_THAN_HELD = 300  # events; HISTORY is 256
FLOOD = 10_000  # events

_keys = itertools.count()


@pytest.fixture
def key() -> str:
    return f"{os.getpid()}-{next(_keys)}"


class Refused(Rejected):
    """Known to this process by the slug that the server's actor uses."""

    code = "refused"


async def elsewhere(server: Server, key: str, events: int) -> None:
    """Somebody else makes the actor emit."""
    async with connect(f"ws://127.0.0.1:{server.port}/lightmoon/ws", websocket={"proxy": None}) as other:
        await other.actor("server.Clicks", key).burst(events=events)


async def until(client: Client, state: State) -> None:
    async with asyncio.timeout(20):
        while client.state is not state:
            await asyncio.sleep(0.005)


async def test_calls_by_name_and_by_position(dial: Dial, key: str) -> None:
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        assert await clicks.add(n=5) == 5
        assert await clicks.add(2) == 7
        assert await clicks.add() == 8
        assert await asyncio.gather(*(clicks.add() for _ in range(50))) == list(range(9, 59)), "in order"
        await clicks.add.tell(2)
        assert await clicks.count_now() == 60
        with pytest.raises(TypeError, match="either by name or by position"):
            await clicks.slow(1, seconds=2)
        with pytest.raises(TypeError, match="can't be sent"):
            await clicks.add(object())
        assert await client.call("server.Clicks.count_now", [clicks]) == 60
        assert client.actor("server.Clicks", key) == clicks


async def test_declared_errors_are_the_classes_that_were_raised(dial: Dial, key: str) -> None:
    """A slug that this process has a class for, and the tree's own; others are `Rejected` with their slug."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        with pytest.raises(Refused) as refused:
            await clicks.refuse()
        assert (refused.value.message, refused.value.data, refused.value.retryable) == ("No.", {"at": 7}, False)
        with pytest.raises(InvalidParams) as invalid:
            await clicks.add(n="many")
        assert invalid.value.path == "$.n"
        with pytest.raises(InternalError) as internal:
            await clicks.bug()
        assert len(internal.value.error_id) == 32
        for name in ("hidden", "nothing"):
            with pytest.raises(MethodNotFound):
                await clicks.message(name)()
        with pytest.raises(TooLarge, match="A request may have 100000 bytes"):
            await clicks.add("x" * 150_000)
        with pytest.raises(TooLarge, match="answer"):
            await clicks.long_text(300_000)


async def test_events_and_state(dial: Dial, key: str) -> None:
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        assert clicks.state is None
        assert await clicks.subscribe() == {"count": 0}
        async with clicks.events("tick") as events, clicks.changes() as changes:
            assert await anext(changes) == {"count": 0}
            await clicks.add(4)
            assert clicks.state == {"count": 4}, "the state is there before the answer"
            assert await anext(changes) == {"count": 4}
            await clicks.burst(3)
            found = [await anext(events) for _ in range(3)]
        assert [event.data for event in found] == [{"number": 0}, {"number": 1}, {"number": 2}]
        assert {(event.actor, event.key, event.name) for event in found} == {("server.Clicks", key, "tick")}
        clicks.unsubscribe()
        await client.call("lm.ping", {})
        assert clicks.state is None


async def test_a_reader_that_nobody_holds_unsubscribes(dial: Dial) -> None:
    """Also one whose loop was left by `break`."""
    async with dial() as client:
        room = client.actor("server.Room", f"left-{os.getpid()}")

        async def first_word() -> str:
            async for event in room.events("said"):
                return str(event.data["text"])
            return ""

        async def last_visit(sign: str) -> None:
            async with asyncio.timeout(10):
                while not (visits := await room.visits()) or not visits[-1].startswith(sign):
                    await asyncio.sleep(0.01)

        reading = asyncio.create_task(first_word())
        await last_visit("+")
        await room.say("hi")
        assert await reading == "hi"
        await last_visit("-")


async def test_a_call_whose_connection_is_cut_resolves_exactly_once(dial: Dial, network: Proxy, key: str) -> None:
    """B57, B50: in flight, and while nobody is connected its answer waits."""
    recovered: list[bool] = []
    async with dial(on_recovered=recovered.append) as client:
        clicks = client.actor("server.Clicks", key)
        await clicks.add()
        slow = asyncio.create_task(clicks.slow(0.8))
        quick = [asyncio.create_task(clicks.add()) for _ in range(5)]
        await asyncio.sleep(0.05)
        network.cut()
        await until(client, State.WAITING)
        late = asyncio.create_task(clicks.add())
        network.mend()
        assert await slow == 2
        assert [await one for one in quick] == [3, 4, 5, 6, 7]
        assert await late == 8
        assert recovered == [True]


async def test_an_idempotency_key_gets_the_first_answer(dial: Dial, key: str) -> None:
    async with dial() as client:
        add = client.actor("server.Clicks", key).add.options(call_id=f"mine-{key}")
        assert await add(1) == 1
        assert await add(1) == 1
        assert await client.actor("server.Clicks", key).count_now() == 1


async def test_what_was_missed_comes_once_each_or_a_reset_does(
    dial: Dial, network: Proxy, server: Server, key: str
) -> None:
    """B56: with a position that is held, and with one that is not."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        await clicks.add(3)
        async with clicks.events("tick") as events, clicks.events("tick", "reset") as both:
            network.cut()
            await elsewhere(server, key, 5)
            network.mend()
            missed = [await anext(events) for _ in range(5)]
            assert [event.data["number"] for event in missed] == [0, 1, 2, 3, 4]
            assert [one.seq for one in missed] == list(range(missed[0].seq, missed[0].seq + 5))
            await until(client, State.OPEN)

            network.cut()
            await elsewhere(server, key, MORE_THAN_HELD)
            network.mend()
            with pytest.raises(StreamReset) as reset:
                await anext(events)
            assert reset.value.state == {"count": 3}
            assert reset.value.reason in ("reconnected", "gap")
            await clicks.burst(1)
            assert (await anext(events)).data == {"number": 0}, "and reading goes on"
            names = [(await anext(both)).name for _ in range(7)]
            assert names == ["tick"] * 5 + ["reset", "tick"]


async def test_a_flood_is_gap_free_or_says_where_it_is_not(dial: Dial, server: Server, key: str) -> None:
    """B55: in order; and a reader that is slower than its queue is long hears of that too."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        async with clicks.events("tick", "reset") as events, clicks.events("tick") as slow:
            slow._limit = 100
            await elsewhere(server, key, FLOOD)
            found: list[Event] = []
            async with asyncio.timeout(30):
                while not found or (found[-1].name == "tick" and found[-1].data["number"] < FLOOD - 1):
                    found.append(await anext(events))
                await clicks.burst(1)
                while found[-1].name != "tick" or found[-1].data["number"] != 0:
                    found.append(await anext(events))
            for one, other in itertools.pairwise(found):
                assert "reset" in (one.name, other.name) or other.seq == one.seq + 1
            assert len(found) == FLOOD + 1 or any(event.name == "reset" for event in found)
            with pytest.raises(StreamReset, match="overflow"):
                async for _ in slow:
                    pass


async def test_cancelling_a_task_takes_its_call_back(dial: Dial, network: Proxy, key: str) -> None:
    """B51: while it runs, before it was sent, and while nobody is connected."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)

        async def cancel_after(task: asyncio.Task[Any], seconds: float) -> None:
            await asyncio.sleep(seconds)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        await cancel_after(asyncio.create_task(clicks.sleep()), 0.1)
        assert await clicks.add() == 1, "the turn was rolled back, and the actor goes on"

        adrift = asyncio.create_task(clicks.sleep())
        await asyncio.sleep(0.1)
        network.cut()
        await until(client, State.WAITING)
        queued = asyncio.create_task(clicks.add(100))
        await asyncio.sleep(0)
        await cancel_after(queued, 0)
        await cancel_after(adrift, 0)
        network.mend()
        async with asyncio.timeout(10):
            assert await clicks.add() == 2, "neither happened"
        assert len(client._calls) == 0


async def test_the_server_is_restarted(server: Server, key: str) -> None:
    """B58, B63's neighbour: killed and started again, or told to stop; streams go on with a reset, calls are known."""
    url = f"ws://127.0.0.1:{server.port}/lightmoon/ws"
    recovered: list[bool] = []
    async with connect(url, backoff=(0.1, 0.3), on_recovered=recovered.append, websocket={"proxy": None}) as client:
        clicks = client.actor("server.Clicks", key)
        await clicks.add()
        async with clicks.events("tick", "reset") as events:
            sleeping = asyncio.create_task(clicks.sleep())
            await asyncio.sleep(0.1)
            for number, how in enumerate((signal.SIGKILL, signal.SIGTERM), 2):
                await asyncio.to_thread(server.end, how)
                await until(client, State.WAITING)  # else it may be sent, and nobody knows what became of it
                waiting = asyncio.create_task(clicks.add())
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(20):
                    assert (await anext(events)).name == "reset"
                    assert await waiting == number
                    with pytest.raises(OutcomeUnknown):
                        await sleeping
            await clicks.burst(1)
            assert (await anext(events)).name == "tick"
        assert recovered == [False, False]


async def test_calls_made_without_a_connection_wait_for_one_or_end(dial: Dial, network: Proxy, key: str) -> None:
    """B15's neighbour: nothing hangs."""
    async with dial(timeout=0.4) as client:
        clicks = client.actor("server.Clicks", key)
        await clicks.add()
        network.cut()
        await until(client, State.WAITING)
        with pytest.raises(Unavailable, match="no connection"):
            await clicks.add()
        sent = asyncio.create_task(clicks.add())
        await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="closed"):
        await sent
    with pytest.raises(Unavailable, match="closed"):
        await clicks.add()


async def test_a_client_that_is_closed_does_not_say_of_a_sent_call_that_nothing_happened(dial: Dial, key: str) -> None:
    """B57: whoever believes that makes it again."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        call = asyncio.create_task(clicks.sleep())
        await asyncio.sleep(0)
        await client.call("lm.ping", {})
    with pytest.raises(OutcomeUnknown):
        await call


async def test_a_second_task_is_told_that_a_reader_is_one_tasks(dial: Dial, key: str) -> None:
    """The first one reads on, and a reader of its own serves the second."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
        for make in (clicks.events, clicks.changes):
            async with make() as reader, make() as other:
                if make == clicks.changes:
                    await anext(reader)  # the state as it is
                first = asyncio.ensure_future(anext(reader))
                await asyncio.sleep(0)
                for _ in range(2):
                    with pytest.raises(UsageError, match="once for each task"):
                        await anext(reader)
                await clicks.add(n=1)
                await clicks.burst(1)
                assert await first is not None
                assert await anext(other) is not None


async def test_a_closed_client_ends_its_readers(dial: Dial, key: str) -> None:
    async with dial() as client:
        async with client.actor("server.Clicks", key).events() as events:
            await client.close()
            assert [event async for event in events] == []
        assert client.state is State.CLOSED


async def test_a_client_that_has_stopped_follows_nothing_and_says_why(dial: Dial, key: str) -> None:
    """B63: an explicit error, never a hang."""
    async with dial() as client:
        clicks = client.actor("server.Clicks", key)
    with pytest.raises(Unavailable, match="closed"):
        await asyncio.wait_for(clicks.subscribe(), 5)
    for make in (clicks.events, clicks.changes):
        with pytest.raises(Unavailable, match="closed"):
            await asyncio.wait_for(make().__aenter__(), 5)
        with pytest.raises(Unavailable, match="closed"):
            await asyncio.wait_for(anext(make()), 5)


async def test_a_client_that_can_not_come_in_is_told_at_once(dial: Dial, server: Server) -> None:
    """B60, B63: another schema, a foreign origin, a token that nobody knows; nobody there at all."""
    with pytest.raises(UpgradeNeeded):
        async with dial(schema="of another day"):
            pass
    with pytest.raises(Forbidden):
        async with dial(origin="https://elsewhere.example"):
            pass
    with pytest.raises(Forbidden):
        async with dial(token="Token of-nobody"):
            pass
    with pytest.raises(Unavailable, match="did not answer"):
        async with connect("ws://127.0.0.1:9/lightmoon/ws", timeout=0.3, backoff=(0.05, 0.1)):
            pass


async def test_a_stream_that_is_refused_says_so(dial: Dial) -> None:
    async with dial() as client:
        with pytest.raises(Exception, match="no actor"):
            await client.actor("server.Nothing", "1").subscribe()
        with pytest.raises(Exception, match="no actor"):
            async for _ in client.actor("server.Nothing", "1").events():
                pass


async def test_a_token_says_who_one_is(dial: Dial, network: Proxy, server: Server, key: str) -> None:
    """B60's neighbour: asked for anew for each connection, and bound to the session."""
    await asyncio.to_thread(_make_user, server)
    proof = "Basic " + base64.b64encode(b"ann:secret").decode()
    recovered: list[bool] = []
    async with dial(token=lambda: proof, on_recovered=recovered.append) as client, dial() as stranger:
        room = client.actor("server.Room", key)
        async with stranger.actor("server.Room", key).events("said") as said:
            await room.say(text="hi")
            network.cut()
            await until(client, State.WAITING)
            network.mend()
            await room.say(text="again")
            await stranger.actor("server.Room", key).say("me too")
            assert [(await anext(said)).data["by"] for _ in range(3)] == ["ann", "ann", "AnonymousUser"]
    assert recovered == [True]


def _make_user(server: Server, name: str = "ann") -> None:
    server._environment["DJANGO_SUPERUSER_PASSWORD"] = "secret"
    server.manage("createsuperuser", "--noinput", "--username", name, "--email", f"{name}@example.com")


async def test_tokens_are_asked_for_each_time(dial: Dial, network: Proxy, key: str) -> None:
    asked = []

    async def token() -> str:
        asked.append(True)
        return "Token nobody"

    with pytest.raises(Forbidden):
        async with dial(token=token):
            pass
    assert asked == [True]


def _good_for(seconds: float, name: str = "cleo") -> str:
    return f"Name {name} {time.time() + seconds}"


@pytest.fixture(scope="module")
def cleo(server: Server) -> None:
    _make_user(server, "cleo")


@pytest.mark.usefixtures("cleo")
async def test_a_token_is_renewed_before_it_ends(dial: Dial, key: str) -> None:
    """On the same connection, which never is nobody's."""
    asked: list[float] = []
    states: list[State] = []

    def token() -> str:
        asked.append(time.monotonic())
        return _good_for(1.5)

    async with dial(token=token, on_state=states.append, on_expired=lambda reason: pytest.fail(reason)) as client:
        room = client.actor("server.Room", key)
        async with room.events("said") as said, asyncio.timeout(20):
            while len(asked) < 4:
                await asyncio.sleep(0.01)
            await room.say("hi")
            assert (await anext(said)).data["by"] == "cleo"
        assert states == [State.CONNECTING, State.OPEN]


@pytest.mark.usefixtures("cleo")
async def test_a_token_that_ended_is_replaced_by_another_connection(dial: Dial, key: str) -> None:
    """Also when the function that gives tokens has failed meanwhile."""
    reasons: list[str] = []
    asked = itertools.count()

    async def token() -> str:
        number = next(asked)
        if number in (1, 2):
            raise RuntimeError("The one who gives tokens is away.")
        return "Name cleo" if number else _good_for(0.6)

    async with dial(token=token, on_expired=reasons.append) as client:
        room = client.actor("server.Room", key)
        async with room.events("said", "reset") as said, asyncio.timeout(20):
            await until(client, State.WAITING)
            await until(client, State.OPEN)
            await room.say("hi")
            while (found := await anext(said)).name == "reset":
                pass
            assert found.data["by"] == "cleo"
    assert (reasons, next(asked)) == (["token"], 4)


@pytest.mark.usefixtures("cleo")
async def test_who_has_one_token_goes_on_as_nobody_when_it_has_ended(dial: Dial, key: str) -> None:
    ended = asyncio.Event()
    async with dial(token=_good_for(0.5), on_expired=lambda reason: ended.set()) as client:
        room = client.actor("server.Room", key)
        async with room.events("said") as said:
            await asyncio.wait_for(ended.wait(), 20)
            await room.say("hi")
            assert (await anext(said)).data["by"] == "AnonymousUser"


@pytest.mark.usefixtures("cleo")
async def test_who_follows_an_actor_and_what_they_say_of_themselves(dial: Dial, network: Proxy, key: str) -> None:
    async with dial() as client, dial(token="Name cleo") as other:
        room, theirs = client.actor("server.Lobby", key), other.actor("server.Lobby", key)
        with pytest.raises(UsageError):
            await theirs.present({"device": "phone"})
        async with room.events("presence") as presence, asyncio.timeout(20):
            assert list((room.presence or {})["users"]) == [""]
            await theirs.subscribe()
            await theirs.present({"device": "phone"})
            while not _metas(room):
                change = await anext(presence)
            (user,) = (one for one in room.presence["users"] if one)
            assert (_metas(room), change.data["leaves"]) == ([{"device": "phone"}], {})
            with pytest.raises(InvalidParams):
                await theirs.present({"device": "x" * 1000})
            network.cut()
            await until(other, State.WAITING)
            await theirs.present({"device": "desk"})
            network.mend()
            while _metas(room) != [{"device": "desk"}]:
                await anext(presence)
            theirs.unsubscribe()
            while (change := await anext(presence)).data["leaves"] == {}:
                pass
            assert (list(change.data["leaves"]), list(room.presence["users"])) == ([user], [""])
        await asyncio.sleep(0)
        assert room.presence is None


async def test_who_leaves_while_nobody_is_connected_has_left(
    dial: Dial, network: Proxy, server: Server, key: str
) -> None:
    """The session goes on, and followed what its client had left until it ended; what is followed anew stays."""
    url = f"ws://127.0.0.1:{server.port}/lightmoon/ws"
    async with connect(url, websocket={"proxy": None}) as witness, dial() as client, asyncio.timeout(30):
        seen = [witness.actor("server.Lobby", f"{name}-{key}") for name in ("left", "again")]
        rooms = [client.actor("server.Lobby", room.key) for room in seen]
        for room, theirs in zip(seen, rooms, strict=True):
            await room.subscribe()
            await theirs.subscribe()
        network.cut()
        await until(client, State.WAITING)
        for theirs in rooms:
            theirs.unsubscribe()
        await asyncio.sleep(0)
        again = asyncio.create_task(rooms[1].subscribe())
        network.mend()
        await again
        while [(room.presence or {})["count"]["connections"] for room in seen] != [1, 2]:
            await asyncio.sleep(0.01)
        rooms[1].unsubscribe()
        while seen[1].presence["count"]["connections"] != 1:
            await asyncio.sleep(0.01)


def _metas(room: Actor) -> list[Any]:
    users = (room.presence or {}).get("users") or {}
    return [one["meta"] for found in users.values() for one in found["connections"].values() if "meta" in one]


def test_it_needs_no_django_project() -> None:
    """In a process without settings, and values of many kinds can be sent."""
    code = (
        "import lightmoon_django.client as c\n"
        "from lightmoon_django.client.call import notification\n"
        "from decimal import Decimal\n"
        "from django.conf import settings\n"
        "assert '1.50' in notification('m', {'a': Decimal('1.50')})\n"
        "assert not settings.configured\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=root, env=env, check=True)
