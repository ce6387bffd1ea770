"""The look at who else is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from lightmoon_django.cluster.peers import UNKNOWN, Peers, Survey
from lightmoon_django.identity import Endpoint
from lightmoon_django.testing.clock import ManualClock


async def test_a_death_that_can_not_be_taken_in_ends_no_look() -> None:
    """B44: calls that wait to hear where their actor is go on."""
    alive: list[Mapping[int, Endpoint]] = [{20: Endpoint("h", network=2)}, {}, {}]

    async def found() -> Mapping[int, Endpoint]:
        return alive.pop(0)

    def fail(network: int, known: bool) -> None:
        raise ZeroDivisionError

    peers = Peers(1, ManualClock(), dict, lambda _: asyncio.ensure_future(found()), fail)
    while alive:
        looked = asyncio.Event()
        peers.refresh(looked.set)
        await asyncio.wait_for(looked.wait(), 2.0)
    assert not peers.living()
    peers.stop()


async def test_a_stranger_is_not_dead_because_a_database_is_silent() -> None:
    """B42, B44: what was sent to it still gets there."""
    clock, dead = ManualClock(), list[tuple[int, bool]]()
    survey = Survey({}, True)

    async def found() -> Survey:
        return survey

    peers = Peers(1, clock, lambda: survey, lambda _: asyncio.ensure_future(found()), lambda *one: dead.append(one))

    async def look(after: float) -> None:
        clock.advance(after)
        looked = asyncio.Event()
        peers.refresh(looked.set)
        await asyncio.wait_for(looked.wait(), 2.0)

    assert peers.endpoint(2) is None
    await look(UNKNOWN / 2)
    survey = Survey({}, False)
    await look(UNKNOWN)
    survey = Survey({}, True)
    await look(UNKNOWN / 2)  # it may be about to register, as the database is back
    assert dead == []
    await look(UNKNOWN)
    assert dead == [(2, False)]
    peers.stop()
