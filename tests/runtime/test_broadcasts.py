"""What a turn emits goes with its fate, also to those who listen."""

from __future__ import annotations

import pytest

from lightmoon_django.errors import DeadlineExceeded, InternalError, Rejected
from tests.runtime.conftest import World
from tests.runtime.test_history import Follower, join, position


@pytest.mark.parametrize("way", ["fail_after_change", "fail_in_thread"])
async def test_nobody_hears_of_a_turn_that_was_rolled_back(world: World, way: str) -> None:
    """B61: neither its event nor its patch, now or on coming back; the next turn's follow as if it had never been."""
    actor, follower = await world.make(), Follower()
    first = await join(world, actor, follower)
    with pytest.raises(Rejected):
        await getattr(actor, way)()
    await actor.add(2)
    assert [one.get("data") or one["set"] for one in follower.frames] == [{"count": 2}, {"n": 2, "count": 2}]
    assert [one["seq"] for one in follower.frames] == [first["seq"] + 1, first["seq"] + 2]
    again = await join(world, actor, Follower("late"), position(first))
    assert again["events"] == follower.frames


async def test_nobody_hears_of_a_turn_that_was_abandoned(world: World) -> None:
    """B61: its stream goes on or is reset, and it never said anything."""
    actor, follower = await world.make(), Follower()
    await join(world, actor, follower)
    with pytest.raises(DeadlineExceeded):
        await actor.announce_and_hang()
    assert (await join(world, actor, follower))["state"]["count"] == 0
    await actor.add(2)
    assert "1000" not in str(follower.frames)
    assert "'count': 2" in str(follower.frames)


async def test_nobody_hears_of_a_turn_that_the_database_refused(stored: World) -> None:
    """B61: its handler had succeeded, and a later one had run on what it left."""
    actor, follower = await stored.make(count=10), Follower()
    await join(stored, actor, follower)
    with pytest.raises(InternalError):
        await actor.add(3)  # 13 violates a constraint
    await actor.add(1)
    assert [one.get("data") or one["set"] for one in follower.frames] == [{"count": 11}, {"n": 1, "count": 11}]
