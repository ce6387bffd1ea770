"""The rows that say who has an actor in memory only (`persistence.places`)."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management import call_command
from django.db import connections

from lightmoon_django.actor.registry import schema_of
from lightmoon_django.models import Place
from lightmoon_django.persistence import places
from lightmoon_django.persistence.census import census
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.store import (
    Committed,
    Load,
    Loaded,
    LoadOutcome,
    Locked,
    Lost,
    Missing,
    OwnedElsewhere,
)
from tests.live.models import Odd, Scratch, Tally
from tests.persistence.world import Node, World

SCRATCH, ODD = schema_of(Scratch), schema_of(Odd)
KEYS = [f"{'ä' * 200} {number}" for number in range(30)]


def claim(node: Node, *keys: str) -> list[LoadOutcome]:
    return node.run(lambda: node.store.load([Load(*places.row_of(SCRATCH, key)) for key in keys]))


def give_back(node: Node, *keys: str) -> None:
    node.run(lambda: node.store.disown([places.row_of(SCRATCH, key) for key in keys]))


def kinds(outcomes: list[LoadOutcome]) -> list[type]:
    return [type(one) for one in outcomes]


def owner(world: World, key: str) -> int | None:
    return world.owner(Place, places.row_of(SCRATCH, key)[1])


def count(world: World) -> int:
    return Place.objects.using(world.alias).count()


def test_a_place_is_one_nodes_and_goes_when_it_is_given_back(database: World) -> None:
    """B31: keys that differ in what a collation may hold for equal have places of their own."""
    here, there = database.node(), database.node()
    assert kinds(claim(here, "a", "A", "a")) == [Loaded] * 3
    assert claim(there, "a") == [OwnedElsewhere(Nodes(database.alias).describe(here.incarnation), here.incarnation)]
    row, id = places.row_of(SCRATCH, "a")
    assert there.run(lambda: there.store.whereabouts([(row, id)])) == {(row.name, id): here.incarnation}
    give_back(there, "a")
    assert count(database) == 2
    give_back(here, "a", "A")
    assert count(database) == 0
    assert kinds(claim(there, "a")) == [Loaded]


def test_nodes_that_claim_and_give_back_at_once_never_have_the_same_place(database: World) -> None:
    """B31: rows come and go between the statements of a claim; what wasn't decided is tried again."""
    nodes = [database.node() for _ in range(3)]

    def compete(node: Node) -> int:
        won = 0
        for _ in range(15):
            for key, outcome in zip(KEYS, claim(node, *KEYS), strict=True):
                assert type(outcome) in (Loaded, OwnedElsewhere, Locked), outcome
                if type(outcome) is Loaded:
                    assert node.run(lambda key=key: owner(database, key)) == node.incarnation
                    won += 1
            give_back(node, *KEYS)
        return won

    with ThreadPoolExecutor(len(nodes)) as pool:
        assert sum(pool.map(compete, nodes)) > 0
    assert count(database) == 0


def test_a_look_at_a_place_tells_whether_it_is_still_ones_own(database: World) -> None:
    """B31: taken over, or gone."""
    here, there = database.node(), database.node()
    (loaded,) = claim(here, "a")
    assert isinstance(loaded, Loaded)
    look = places.look(SCRATCH, "a")
    look.version = loaded.version
    assert isinstance(here.commit(look)[0], Committed)
    database.kill(here)
    assert kinds(claim(there, "a")) == [Loaded]
    assert here.commit(look) == [Lost()]
    give_back(there, "a")
    assert here.commit(look) == [Missing()]


def test_a_look_at_a_place_that_was_never_claimed_harms_no_other(database: World) -> None:
    """B31: of an actor that a node has had while it was alone, no version is known."""
    here = database.node()
    (loaded,) = claim(here, "a")
    assert isinstance(loaded, Loaded)
    known, unknown = places.look(SCRATCH, "a"), places.look(SCRATCH, "b")
    known.version = loaded.version
    kept, gone = here.commit(known, unknown)
    assert isinstance(kept, Committed)
    assert gone == Missing()


def test_nobody_claims_while_another_node_is_alone(database: World) -> None:
    """B31: it has them all. Once it says so no more, or is dead, others may have those that it hasn't claimed."""
    alone, other = database.node(), database.node()
    nodes = Nodes(database.alias)
    nodes._all().filter(pk=alone.incarnation).update(alone=True)
    assert claim(other, "a") == [Locked()]
    assert kinds(claim(alone, "a")) == [Loaded]
    alone.run(lambda: alone.store.share(alone.incarnation))
    assert kinds(claim(other, "a", "b")) == [OwnedElsewhere, Loaded]
    nodes._all().filter(pk=alone.incarnation).update(alone=True)
    database.kill(alone)
    assert kinds(claim(other, "a", "c")) == [Loaded] * 2


def test_a_node_is_alone_only_if_no_other_lives(database: World) -> None:
    """B31: of two that register at once at most one takes itself for that."""
    nodes = Nodes(database.alias)
    for incarnation in (1, 2):
        nodes.register(incarnation, 60.0, alone=True)
    assert not nodes.is_alone(1)
    assert not nodes.is_alone(2)
    nodes.leave(1)
    nodes.leave(2)
    nodes.register(3, 60.0, alone=True)
    assert nodes.is_alone(3)


def test_a_node_without_a_lease_claims_no_place(database: World) -> None:
    """B31: nothing would show later that it was taken as a node that is gone."""
    node = database.node()
    node.store.trusted = lambda: False
    assert claim(node, "a") == [Locked()]
    assert count(database) == 0


def test_the_places_of_dead_nodes_are_cleaned_up(database: World) -> None:
    living, dead = database.node(), database.node()
    claim(living, "a")
    claim(dead, "b", "c")
    database.kill(dead)
    call_command("lightmoon_clean", database=database.alias, stdout=(out := io.StringIO()))
    assert "2 places" in out.getvalue()
    assert count(database) == 1


def leave_behind(node: Node, *keys: str) -> None:
    """As a claim does that ends between its statements."""
    node.run(
        lambda: node.store.create(node.store.table(places.PLACE), [places.row_of(SCRATCH, key)[1] for key in keys])
    )


def test_places_that_nobody_has_are_cleaned_up_and_never_one_that_is_claimed_meanwhile(database: World) -> None:
    """B31: it may be taken between the look for them and their end."""
    node = database.node()
    leave_behind(node, "a", "b", "c")

    def claim_first(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith("DELETE"):
            assert kinds(claim(node, "b")) == [Loaded]
        return execute(sql, *rest)

    with connections[database.alias].execute_wrapper(claim_first):
        call_command("lightmoon_clean", database=database.alias, stdout=(out := io.StringIO()))
    assert "2 places" in out.getvalue()
    assert count(database) == 1
    assert owner(database, "b") == node.incarnation


def test_a_claim_makes_its_place_again_that_was_cleaned_up(database: World) -> None:
    node = database.node()
    take, late_by = node.store.take, itertools.count()

    def late(*args: Any) -> Any:
        if next(late_by) < 2:
            assert places.clean(database.alias) == 1
        return take(*args)

    node.store.take = late
    assert kinds(claim(node, "a")) == [Loaded]
    assert owner(database, "a") == node.incarnation


def test_places_are_counted_by_node_and_class(database: World) -> None:
    """§4: as rows of models are."""
    here, there = database.node(), database.node()
    here.activate(Tally, database.insert(Tally))
    claim(here, *KEYS)
    claim(there, "x", "y")
    there.run(lambda: there.store.load([Load(*places.row_of(ODD, key)) for key in KEYS]))
    leave_behind(there, "z")
    found = census(database.alias, [SCRATCH, ODD, schema_of(Tally)])
    counted = {one.node.pk: dict(one.owned) for one in found}
    mine = {"live.Scratch": 30, "live.Tally": 1}
    assert counted == {here.incarnation: mine, there.incarnation: {"live.Scratch": 2, "live.Odd": 30}}


def test_a_place_that_goes_while_it_is_claimed_is_made_again(database: World) -> None:
    """Its node gives it back between two statements of the claim, and again."""
    node = database.node()
    take, late_by = node.store.take, itertools.count()

    def late(*args: Any) -> Any:
        if next(late_by) < 2:
            Place.objects.using(database.alias).all().delete()
        return take(*args)

    node.store.take = late
    assert kinds(claim(node, "a")) == [Loaded]
