"""A process that has all actors in memory only, until it learns that it is not alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from lightmoon_django.errors import Conflict
from lightmoon_django.host import host
from lightmoon_django.identity import new_incarnation
from lightmoon_django.models import Node, Place
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.runtime import recovery
from tests.live.models import Probe
from tests.runtime.conftest import PATIENCE, World, _backends, eventually

pytestmark = pytest.mark.parametrize("world", _backends()[:1], indirect=True)


async def _until(world: World, found: Any, expected: Any) -> None:
    until = time.monotonic() + PATIENCE
    while (now := await world.db(found)) != expected:
        assert time.monotonic() < until, now
        await asyncio.sleep(0.02)


async def test_its_heartbeat_notices_others_that_can_not_say_so(world: World) -> None:
    """B31: what it has is claimed, and goes on; and it says that it has no others."""
    alone = Node.objects.filter(alone=True)
    assert await world.ref("early").add(5) == 5
    await _until(world, alone.count, 1)
    assert await world.ref("late").add(5) == 5
    assert await world.db(Place.objects.count) <= 1  # the first one may have come before the node's own row
    await world.db(lambda: Nodes("default").register(new_incarnation(), 60.0))
    await _until(world, alone.count, 0)
    assert await world.db(Place.objects.count) == 2
    assert [await world.ref(key).add() for key in ("early", "late")] == [6, 6]


async def test_what_another_process_has_is_let_go_of_also_under_a_valid_lease(world: World) -> None:
    """B3: a lease says that this process lives, not that it has that actor."""
    assert await world.ref("a").add(5) == 5
    (activation,) = [one for one in world.node.catalog if one.key == "a"]
    assert activation.fresh()
    recovery.lose(activation, "Another process has it.")
    assert await world.ref("a").add(1) == 1


async def test_what_a_stopping_process_has_goes_with_its_lease(world: World, settings: object) -> None:
    """B31, B42: another process may have the actor, and a new lease says nothing of that."""
    settings.LIGHTMOON = {"LEASE_SECONDS": 0.6}  # type: ignore[attr-defined]
    actor = await world.make(count=1)
    node, lease = world.node, host._storage.lease.of("default")
    recording = asyncio.ensure_future(actor.record(0))
    await eventually(lambda: 0 in Probe.log, "it runs")
    reading = asyncio.ensure_future(actor.get())
    old = lease.incarnation()
    stopping = asyncio.ensure_future(asyncio.to_thread(host.stop))
    await eventually(lambda: node.stopping, "it stops")
    await world.db(Node.objects.filter(pk=old).update, dead=True)
    await eventually(lambda: lease.incarnation() != old and lease.valid(), "there is a new incarnation")
    Probe.gate("record").set()
    recorded, read, _ = await asyncio.gather(recording, reading, stopping, return_exceptions=True)
    assert read == 0
    assert isinstance(recorded, Conflict)
