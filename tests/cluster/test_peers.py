"""The look at who else is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from lightmoon_django.cluster.peers import Peers
from lightmoon_django.identity import Endpoint
from lightmoon_django.testing.clock import ManualClock


async def test_a_death_that_can_not_be_taken_in_ends_no_look() -> None:
    """B44: calls that wait to hear where their actor is go on."""
    alive: list[Mapping[int, Endpoint]] = [{20: Endpoint("h", network=2)}, {}, {}]

    async def found() -> Mapping[int, Endpoint]:
        return alive.pop(0)

    def fail(network: int) -> None:
        raise ZeroDivisionError

    peers = Peers(1, ManualClock(), dict, lambda _: asyncio.ensure_future(found()), fail)
    while alive:
        looked = asyncio.Event()
        peers.refresh(looked.set)
        await asyncio.wait_for(looked.wait(), 2.0)
    assert not peers.living()
    peers.stop()
