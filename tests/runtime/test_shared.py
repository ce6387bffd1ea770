"""Actors in memory only of a process that is not the only one: each has a place in the database."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.db import connections

from lightmoon_django.actor.registry import schema_of
from lightmoon_django.errors import Unavailable
from lightmoon_django.identity import new_incarnation
from lightmoon_django.models import Place
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.silence import hang_up
from tests.live.models import Scratch
from tests.runtime.conftest import PATIENCE, World, _backends, _open, eventually


@pytest.fixture(params=_backends()[:1])
async def shared(request: pytest.FixtureRequest, settings: Any) -> AsyncIterator[World]:
    """Another node is there, which can't be reached and has no actors."""
    settings.LIGHTMOON = {"ACTIVATE_TIMEOUT": 0.3}
    async for world in _open(request.param):
        await world.db(lambda: Nodes("default").register(new_incarnation(), 3600.0))
        assert await world.ref("first").add() == 1
        assert not world.node.alone
        yield world


async def _places(world: World) -> int:
    found: int = await world.db(Place.objects.count)
    return found


def _delay_loads(world: World) -> threading.Event:
    """Outcomes of claims come when that is set; the claims themselves are made at once."""
    store, told = world.node.directory_of(schema_of(Scratch)).store, threading.Event()
    load: Callable[..., Any] = store.load

    def slowly(loads: Any) -> Any:
        found = load(loads)
        told.wait(PATIENCE)
        return found

    store.load = slowly
    return told


async def _until(world: World, places: int) -> None:
    until = time.monotonic() + PATIENCE
    while (found := await _places(world)) != places:
        assert time.monotonic() < until, found
        await asyncio.sleep(0.02)


async def test_a_place_that_is_claimed_for_nobody_any_more_is_given_back(shared: World) -> None:
    """B31: the actor was given up meanwhile, and no other node could ever have it."""
    told = _delay_loads(shared)
    with pytest.raises(Unavailable):
        await shared.ref("late").add()
    assert await _places(shared) == 2
    told.set()
    await _until(shared, 1)
    assert await shared.ref("late").add() == 1
    assert await _places(shared) == 2


async def test_one_that_is_wanted_again_by_then_keeps_its_place(shared: World) -> None:
    """B31: the first claim's outcome comes when the second one is under way."""
    told = _delay_loads(shared)
    with pytest.raises(Unavailable):
        await shared.ref("late").add()
    again = asyncio.ensure_future(shared.ref("late").add())
    await eventually(lambda: shared.activation(shared.ref("late")) is not None, "it is loaded again")
    told.set()
    assert await again == 1
    assert await shared.ref("later").add() == 1  # behind whatever was asked of the store
    assert await _places(shared) == 3
    assert await shared.ref("late").add() == 2


async def test_a_call_that_was_looked_up_where_its_actor_left_memory_runs_where_it_comes_to_live(shared: World) -> None:
    """B50: what an earlier owner remembers is waited for by one activation, not by the call."""
    actor = shared.ref("first")
    (activation,) = shared.node.catalog
    shared.node.expected.add(activation.address)
    asked = asyncio.ensure_future(actor.add.options(call_id="a", timeout=PATIENCE)(1))
    await eventually(lambda: activation.mailbox, "it waits")
    assert activation.mailbox[0].identity.looking
    shared.node.expected.discard(activation.address)
    shared.node.catalog.deactivate(activation)
    assert await asked == 1


@pytest.mark.parametrize("stored", _backends()[2:], indirect=True)
async def test_a_look_for_others_that_breaks_off_costs_no_heartbeat(
    stored: World, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """B35: it comes by the heartbeat's own connection, which is another one then; the next look finds them."""
    settings.LIGHTMOON = {"LEASE_SECONDS": 3.0}
    survey, broken = Nodes.survey, []

    def break_off(nodes: Nodes) -> Any:
        if threading.current_thread().name == "lightmoon-lease-pg" and len(broken) < 2:
            broken.append(connections["pg"].connection)
            hang_up(connections["pg"].connection)
        return survey(nodes)

    monkeypatch.setattr(Nodes, "survey", break_off)
    assert stored.node.stopping is False
    await eventually(lambda: stored.node.alone, "it is alone")
    await eventually(lambda: len(broken) == 2, "two looks broke off")
    assert stored.node.alone
    await stored.db(lambda: Nodes("pg").register(new_incarnation(), 3600.0))
    await eventually(lambda: not stored.node.alone, "it has found the other one")
    assert len(set(map(id, broken))) == 2
    assert stored.node.lease.valid()
    assert not {"heartbeat_failed", "after_beat_failed"} & {getattr(one, "action", "") for one in caplog.records}
