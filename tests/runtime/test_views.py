"""What subscribers mirror: fields, generated columns, and what a serializer makes of an actor."""

from __future__ import annotations

import asyncio
import json
import threading
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

from lightmoon_django import ref
from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Subscription
from lightmoon_django.errors import InternalError, LightMoonError
from lightmoon_django.identity import Address, Position
from tests.kinds.models import Bid, Bidder, Owner, Priced, Sparse
from tests.live.models import Probe
from tests.runtime.conftest import World, eventually


class Mirror:
    """A client that keeps a copy of the state."""

    id = "mirror"

    def __init__(self) -> None:
        self.state: dict[str, Any] | None = None
        self.patches: list[dict[str, Any]] = []
        self.resets: list[str] = []
        self.position: Position | None = None  # when it joined
        self.recovered = False

    def push(self, frame: str) -> None:
        params = json.loads(frame)["params"]
        assert self.state is not None
        if "set" in params:
            self.patches.append(params)
            self.state.update(params["set"])
            for name in params["unset"]:
                del self.state[name]

    def reset(self, address: Address, reason: str) -> None:
        self.resets.append(reason)


class _Follow(Subscription):
    future: asyncio.Future[bytes]

    def resolve(self, payload: bytes) -> None:
        found = json.loads(payload)
        self.subscriber.state, self.subscriber.recovered = found["state"], found["recovered"]
        self.subscriber.position = Position(found["epoch"], found["seq"])
        self.future.set_result(payload)

    def reject(self, error: LightMoonError) -> None:
        self.future.set_exception(error)


async def follow(world: World, actor: Any, earlier: Mirror | None = None) -> Mirror:
    """Subscribe to it, from where an earlier subscriber stood."""
    mirror = Mirror()
    schema = registry.schema_of(actor.actor)
    call = _Follow(schema.subscription, actor.key, (), b"", world.node.clock.monotonic() + 10)
    call.subscriber = mirror
    call.since = earlier.position if earlier is not None else None
    call.future = asyncio.get_running_loop().create_future()
    world.node.post(call)
    await call.future
    return mirror


async def make(world: World, cls: Any, **values: Any) -> Any:
    assert world.node is not None
    return ref(cls, (await world.db(cls.objects.create, **values)).pk)


async def test_a_serializer_is_the_state_that_clients_mirror(stored: World) -> None:
    """§2: as DRF renders it; patches are the top-level parts that changed, and nothing that is write-only shows."""
    eva = await stored.db(Owner.objects.create, name="Eva")
    one = await make(stored, Bid, title="Lamp")
    mirror = await follow(stored, one)
    assert mirror.state == {
        "title": "Lamp",
        "price": "0.00",
        "leader": None,
        "ends": "2030-01-01T00:00:00Z",
        "cents": 0,
        "label": None,
    }
    await one.offer(Decimal("1.50"), eva.pk)
    assert mirror.patches[-1]["set"] == {"price": "1.50", "leader": eva.pk, "cents": 150, "label": "Yes"}
    await one.offer(Decimal("2.00"), eva.pk)
    assert mirror.patches[-1]["set"] == {"price": "2.00", "cents": 200}
    await one.offer(Decimal("2.00"), eva.pk)
    assert len(mirror.patches) == 2
    assert (await follow(stored, one)).state == mirror.state


async def test_a_serializer_of_an_actor_in_memory(world: World) -> None:
    """Parts that it leaves out are unset; a field that it doesn't show makes no patch."""
    if world.backend != "memory":
        pytest.skip("It has no row.")
    assert world.node is not None
    one = ref(Sparse, "s")
    mirror = await follow(world, one)
    assert mirror.state == {"since": "2026-01-01"}
    await one.put("a")
    assert mirror.state == {"since": "2026-01-01", "names": ["a"]}
    await one.clear()
    assert mirror.state == {"since": "2026-01-01", "count": 1}
    assert mirror.patches[-1]["unset"] == ["names"]
    await one.whisper()
    assert len(mirror.patches) == 2


async def test_a_serializer_that_asks_the_database_fails_the_subscription_and_says_why(
    stored: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It would hold up the event loop. The actor goes on."""
    eva = await stored.db(Owner.objects.create, name="Eva")
    one = await make(stored, Bidder, friend=eva)
    with pytest.raises(InternalError):
        await follow(stored, one)
    assert "asked the database" in caplog.text
    assert "PrimaryKeyRelatedField" in caplog.text
    await one.befriend(None)
    assert (await follow(stored, one)).state == {"count": 0, "leader": None}


async def test_a_view_that_fails_later_resets_its_subscribers(stored: World) -> None:
    """Guarantee 9: never a silent gap; the turn itself is stored and answered."""
    eva = await stored.db(Owner.objects.create, name="Eva")
    one = await make(stored, Bidder)
    mirror = await follow(stored, one)
    await one.befriend(eva.pk)
    assert mirror.resets == ["the view failed"]
    assert (await stored.db(Bidder.objects.get)).friend_id == eva.pk
    await one.befriend(None)


async def test_what_could_not_be_shown_is_missed_by_nobody_who_comes_back(stored: World) -> None:
    """B56: no patch told it, so whoever goes on from a position of before gets the state, and hears that it does."""
    eva = await stored.db(Owner.objects.create, name="Eva")
    one = await make(stored, Bidder)
    mirror = await follow(stored, one)
    for change in (one.befriend(eva.pk), one.add(5), one.befriend(None)):
        await change
    found = await follow(stored, one, mirror)
    assert (found.recovered, found.state) == (False, {"count": 5, "leader": None})
    await one.add(1)
    assert found.state == {"count": 6, "leader": None}


async def test_generated_columns_reach_those_who_mirror_them(stored: World) -> None:
    """9.16: with the turn that they follow from, also for turns that came close together and for new subscribers."""
    one = await make(stored, Priced)
    mirror = await follow(stored, one)
    await one.price(Decimal(1))
    assert mirror.state == {"net": "1.00", "gross": "2.00"}
    calls = [asyncio.ensure_future(one.price(Decimal(n))) for n in (5, 6, 7)]
    late = asyncio.ensure_future(follow(stored, one))
    await asyncio.gather(*calls)
    assert mirror.state == {"net": "7.00", "gross": "14.00"}
    assert (await late).state == mirror.state


async def test_a_generated_column_that_goes_back_is_sent_too(stored: World) -> None:
    """9.16: although the second turn ran ahead, before the database had made its value of the first one's."""
    one = await make(stored, Priced, net=7)
    mirror = await follow(stored, one)
    activation = stored.node.find(Address(registry.name_of(Priced), one.key))
    store = activation.store.store
    commit, go = store.commit, threading.Event()

    def held(writes: Any) -> Any:
        go.wait(10)
        return commit(writes)

    with mock.patch.object(store, "commit", side_effect=held):
        first = asyncio.ensure_future(one.price(Decimal(9)))
        await eventually(lambda: any(ticket.taken for ticket in activation.gate._tickets), "the first is on its way")
        second = asyncio.ensure_future(one.price(Decimal(7)))
        await eventually(lambda: len(activation.gate) == 2, "the second has run")
        go.set()
        await asyncio.gather(first, second)
    assert [patch["set"] for patch in mirror.patches] == [
        {"net": "9.00", "gross": "18.00"},
        {"net": "7.00", "gross": "14.00"},
    ]


async def test_generated_columns_come_back_while_another_turn_runs(stored: World) -> None:
    """9.16: that turn sees them, keeps its own changes, and later turns see them, too."""
    one = await make(stored, Priced)
    first, waiting = asyncio.ensure_future(one.price(Decimal(4))), asyncio.ensure_future(one.wait())
    assert await first == 4
    Probe.gate("priced").set()
    assert await waiting == 8
    Probe.gate("priced").clear()
    assert await one.prices() == (Decimal(4), Decimal(8))
    first, waiting = asyncio.ensure_future(one.price(Decimal(5))), asyncio.ensure_future(one.wait(Decimal(6)))
    await eventually(first.done, "the first is stored")
    Probe.gate("priced").set()
    assert await waiting == 10
    assert await one.prices() == (Decimal(6), Decimal(12))
