"""Which node is chosen, by what one node knows of all (design §4)."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.actor.placement import Role
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.cluster.placement import Placement
from lightmoon_django.identity import Endpoint
from tests.live.models import Tally
from tests.live.placed import Game, Levelled, Strewn

ME = 1


class World:
    """The nodes as one of them sees them."""

    def __init__(self, *roles: str, load: int = 0, **others: Any) -> None:
        """`others`: by `n` and network id, with roles and load."""
        self.load = load
        self.looked = True
        self.living = {int(name[1:]): Endpoint("h", roles=role, load=load) for name, (role, load) in others.items()}
        self.placement = Placement(
            ME,
            frozenset(roles),
            living=lambda: self.living,
            looked=lambda: self.looked,
            load=lambda: self.load,
            rng=random.Random(1),
        )

    def chosen(self, cls: type, times: int = 200, **options: Any) -> Counter[int | None]:
        return Counter(self.placement.choose(schema(cls), **options) for _ in range(times))


def schema(cls: type) -> ActorSchema:
    return registry.schema_of(cls)


def test_local_means_here_where_this_node_hosts() -> None:
    """Design §4: without a look at anybody; elsewhere it means anywhere."""
    assert World(n2=("", 0)).placement.here(schema(Tally))
    assert set(World(n2=("", 0)).chosen(Tally)) == {ME}
    gateway = World("gateway", n2=("", 0), n3=("", 0), n4=("gateway", 0), n5=("caller", 0))
    assert not gateway.placement.here(schema(Tally))
    assert set(gateway.chosen(Tally)) == {2, 3}
    assert World("gateway", n4=("gateway", 0)).placement.choose(schema(Tally)) is None


def test_random_means_all_and_least_loaded_never_the_fullest() -> None:
    """Design §4: of two drawn at random the one with less to do."""
    world = World(load=10, n2=("", 20), n3=("", 30))
    assert min(world.chosen(Strewn).values()) > 40
    levelled = world.chosen(Levelled)
    assert set(levelled) == {1, 2}
    assert levelled[1] > levelled[2]


def test_what_a_node_was_given_counts_until_it_tells_its_load() -> None:
    """Design §4: or all would go to the same one until its next heartbeat."""
    world = World("gateway", n2=("", 5), n3=("", 0))
    for _ in range(10):
        found = world.placement.choose(schema(Levelled))
        assert found is not None
        world.placement.given(found)
    assert [world.placement.load_of(one) for one in (2, 3)] in ([7, 8], [8, 7])
    world.living[3] = Endpoint("h", load=2)
    assert world.placement.load_of(3) == 2


def test_those_that_stop_are_not_chosen() -> None:
    """B42."""
    world = World(n2=("", 0), n3=("", 0))
    world.placement.closing.add(2)
    assert set(world.chosen(Strewn)) == {1, 3}
    world.placement.draining = True
    assert set(world.chosen(Strewn)) == {3}
    assert not world.placement.here(schema(Tally))


def test_those_that_name_a_role_come_before_those_that_name_none() -> None:
    """Design §4: and those that name others never have its actors."""
    assert set(World("web", n2=("game", 0), n3=("", 0)).chosen(Game)) == {2}
    assert set(World("web", n3=("", 0)).chosen(Game)) == {3}
    assert World("web", n4=("web", 0)).placement.choose(schema(Game)) is None
    assert not World("web").placement.may_host(schema(Game))
    assert World("web").placement.may_host(schema(Tally))
    assert World("game", "gateway").placement.may_host(schema(Game))
    stand_in = World(n2=("game", 0))
    assert stand_in.placement.may_host(schema(Game))
    assert stand_in.placement.misplaced(schema(Game))
    assert not World().placement.misplaced(schema(Game))


def test_a_caller_hosts_only_while_nobody_else_does() -> None:
    """B68: and not before it has looked."""
    alone = World("caller", n2=("caller", 0), n3=("gateway", 0))
    assert alone.placement.hosting
    alone.looked = False
    assert not alone.placement.hosting
    beside = World("caller", n2=("", 0))
    assert not beside.placement.hosting
    assert beside.placement.misplaced(schema(Tally))


@pytest.mark.parametrize(("mine", "others", "surplus"), [(16, 0, 4), (12, 12, 0), (14, 12, 0), (100, 0, 75)])
def test_what_is_over_the_mean_is_surplus(mine: int, others: int, surplus: int) -> None:
    """Design §4: small differences are left, or actors would never come to rest."""
    loads = (16, 16, 0) if mine == 16 else (others,) * 3
    world = World(load=mine, **{f"n{2 + number}": ("", load) for number, load in enumerate(loads)})
    assert world.placement.surplus(schema(Levelled)) == surplus
    assert world.placement.surplus(schema(Strewn)) == surplus
    assert world.placement.surplus(schema(Tally)) == 0


def test_a_role_is_a_value() -> None:
    """Design §2: typed, and equal to itself."""
    assert Role("game") == Role("game", pick="least_loaded") != Role("game", pick="local")
