"""The Python client in a process that has the actor classes: what it reads is what their hints say."""

from __future__ import annotations

import asyncio
import datetime
import logging
import subprocess
import sys
from decimal import Decimal
from typing import Any, cast

import pytest

from lightmoon_django import kinds
from lightmoon_django.actor import registry
from lightmoon_django.client import Client, State, StreamReset
from lightmoon_django.client.ref import reference
from lightmoon_django.errors import InvalidParams, MethodNotFound, UpgradeNeeded, UsageError
from tests.browser.proxy import Proxy
from tests.client.conftest import Dial
from tests.live.bazaar import Bazaar, Offer
from tests.live.models import Log, Tally

FIRST = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NAME = "live.Bazaar"
PATIENCE = 20.0  # seconds


async def test_calls_are_typed_by_the_class(dial: Dial) -> None:
    """Results and arguments; by name, by position and both; refs in them are refs to that server's actors."""
    async with dial() as client:
        bazaar = client.ref(Bazaar, "typed")
        assert await bazaar.bid(Decimal("2.50")) == Offer(Decimal("2.50"), FIRST)
        assert await bazaar.bid(Decimal(3), days=2) == Offer(Decimal(3), FIRST + datetime.timedelta(days=1))
        price = await bazaar.price()
        assert (type(price), price) == (Decimal, Decimal(3))
        neighbours = await bazaar.neighbours(1)
        assert neighbours == {"0": client.ref(Bazaar, "typed-0")}
        assert await neighbours["0"].price() == Decimal("1.50"), "asked there, and not of a node of this process"
        await neighbours["0"].bid(Decimal(9))
        assert await bazaar.price_at(neighbours["0"]) == Decimal(9)
        assert await client.call(f"{NAME}.price", {"key": "typed"}) == "3", "by its wire name it is plain JSON"
        assert await client.actor(NAME, "typed").price() == "3"


async def test_an_actor_by_its_class_reads_results_events_and_state(dial: Dial) -> None:
    async with dial() as client:
        bazaar = client.actor(Bazaar, "streamed")
        assert await bazaar.subscribe() == {"best": Decimal("1.50"), "until": None, "rivals": {}}
        async with bazaar.events("outbid") as outbid, client.actor(NAME, "streamed").events() as plain:
            assert await bazaar.bid(price=Decimal("2.25")) == Offer(Decimal("2.25"), FIRST)
            data = {"price": Decimal("2.25"), "until": FIRST, "at": client.ref(Bazaar, "streamed")}
            assert (await anext(outbid)).data == data
            text = {"price": "2.25", "until": "2030-01-01T00:00:00Z", "at": "streamed"}
            assert (await anext(plain)).data == text, "another reader of the same stream"
        now = {"best": Decimal("2.25"), "until": FIRST, "rivals": {}}
        assert bazaar.state == await anext(bazaar.changes()) == now
        assert bazaar.state is bazaar.state, "it is read once"
        assert client.actor(NAME, "streamed").state == {**now, "best": "2.25", "until": "2030-01-01T00:00:00Z"}


async def test_a_reset_has_the_state_as_hinted(dial: Dial) -> None:
    """Raised, and read by its name; what presence tells is as it is."""
    async with dial() as client:
        bazaar = client.actor(Bazaar, "reset")
        await bazaar.subscribe()
        wanted = {"best": Decimal("1.50"), "until": None, "rivals": {}}
        snapshot = client.actor(NAME, "reset").state
        raising, reading = bazaar.events(), bazaar.events("reset", "presence")
        for events in (raising, reading):
            events.reset("tested", snapshot)
        with pytest.raises(StreamReset) as found:
            await anext(raising)
        assert found.value.state == wanted
        assert (await anext(reading)).data == {"reason": "tested", "state": wanted}
        reading.presence({"users": None})
        assert (await anext(reading)).data == {"users": None}


async def test_tells_are_typed_too_and_keep_their_place(
    dial: Dial, network: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """`tell` of a typed ref is no coroutine, as its type says; without a connection it waits for one."""
    async with dial() as client, asyncio.timeout(PATIENCE):
        bazaar = client.ref(Bazaar, "told")
        bazaar.bid.tell(Decimal(7))
        assert await bazaar.price() == Decimal(7)
        network.cut()
        while client.state is State.OPEN:
            await asyncio.sleep(0)
        bazaar.bid.tell(Decimal(8))
        network.mend()
        assert await bazaar.price() == Decimal(8)  # asked right behind the tell, with no connection yet
    with caplog.at_level(logging.WARNING, "lightmoon"):
        bazaar.bid.tell(Decimal(9))
        async with asyncio.timeout(PATIENCE):
            while "A tell was not sent" not in caplog.text:
                await asyncio.sleep(0)


async def test_a_call_id_gives_the_first_answer_again(dial: Dial) -> None:
    async with dial() as client:
        bid = client.ref(Bazaar, "once").bid
        first = await bid.options(call_id="mine")(Decimal(5))
        await bid(Decimal(6))
        assert await bid.options(call_id="mine")(Decimal(5)) == first == Offer(Decimal(5), FIRST)
        assert await client.ref(Bazaar, "once").price() == Decimal(6)


async def test_mistakes_are_told_before_anything_is_sent(dial: Dial) -> None:
    async with dial() as client:
        bazaar: Any = client.ref(Bazaar, "wrong")
        with pytest.raises(AttributeError, match=r"has no message 'sell'. Messages are: bid, close"):
            _ = bazaar.sell
        with pytest.raises(UsageError, match=r"doesn't expose a message 'close'"):
            await bazaar.close()
        with pytest.raises(TypeError, match="day"):
            await bazaar.bid(1, day=1)
        with pytest.raises(UsageError, match="has no timeout"):
            bazaar.bid.options(timeout=3)
        for name in ("sync", "at", "after", "every", "cancel"):
            with pytest.raises(UsageError, match=rf"\.{name}\(\)"):
                getattr(bazaar.bid, name)
        with pytest.raises(UsageError, match=r"no event 'outbit'. Events are: outbid"):
            client.actor(Bazaar, "wrong").events("outbit")
        with pytest.raises(UsageError, match="Log is not an actor"):
            client.ref(Log, 1)
        with pytest.raises(InvalidParams):
            client.ref(Tally, "07")
        with pytest.raises(InvalidParams):
            await bazaar.bid("much")


async def test_a_server_with_another_version_of_the_class_is_noticed(
    dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What doesn't fit the hints here is an error that says so, and never a value of a wrong type."""
    kind = kinds.of(Bazaar, reference)
    with pytest.raises(UpgradeNeeded, match=r"live.Bazaar.price is not what its hint says"):
        kind.result("price", "cheap")
    with pytest.raises(UpgradeNeeded, match=r"'price' of outbid of live.Bazaar"):
        kind.data("outbid", {"price": []})
    with pytest.raises(UpgradeNeeded, match=r"'best' of its state"):
        kind.state({"best": {}})
    assert kind.data("outbid", {"newer": 1}) == kind.state({"newer": 1}) == {"newer": 1}
    assert kind.data("unheard", {"x": 1}) == {"x": 1}
    schema = registry.schema_of(Bazaar)
    monkeypatch.setitem(schema.exposed, "close", schema.messages["close"])
    async with dial() as client:
        with pytest.raises(MethodNotFound):
            await client.ref(Bazaar, "older").close()


WITHOUT = """
from lightmoon_django.client import connect

client = connect("ws://127.0.0.1:9/")
print(client.actor("chat.Room", 1))
try:
    client.ref(int, 1)
except Exception as error:
    print(error)
"""


def test_without_a_project_actors_have_wire_names() -> None:
    """A class is an error then, which says what to do."""
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True, timeout=60)
    name, refusal = done.stdout.splitlines()
    assert name == "<actor chat.Room:1>"
    assert "django.setup()" in refusal


def test_refs_are_values() -> None:
    """Equal addresses of one client are equal; those of another client are others."""
    one, other = cast(Client, object()), cast(Client, object())
    ref = Client.ref
    assert ref(one, Bazaar, "1") == ref(one, Bazaar, "1")
    assert len({ref(one, Bazaar, "1"), ref(one, Bazaar, "1"), ref(other, Bazaar, "1"), ref(one, Bazaar, "2")}) == 3
    assert repr(ref(one, Bazaar, "1")) == "<ref of live.Bazaar:1 at a server>"
