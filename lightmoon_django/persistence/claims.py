"""Taking rows, and telling apart why some could not be taken.

A row is taken by one conditional UPDATE that names the owners it may be taken from as literal ids: nobody, this node,
and nodes that are known to be dead. It never joins the node table: under READ COMMITTED a subquery there is judged on
another snapshot than the row, and stole live nodes' rows. So a foreign owner is first judged (and buried, if its
lease has passed) in statements of their own, and the row is tried again with that id in the list.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.store import Loaded, LoadOutcome, Locked, Missing, OwnedElsewhere
from lightmoon_django.persistence.table import Table

ROUNDS = 4  # create, bury and take again; whatever changes hands faster than that is busy


class Taker(Protocol):
    """The statements that a claim is made of. Keys that are not in an answer weren't taken or found."""

    def take(self, table: Table, keys: Sequence[str], owners: Collection[int]) -> Mapping[str, Loaded]:
        """Claim the rows that nobody or one of `owners` has, and that nobody has locked."""

    def owners(self, table: Table, keys: Sequence[str]) -> Mapping[str, int | None]:
        """Whose they are, by a fresh statement."""

    def create(self, table: Table, keys: Sequence[str]) -> None:
        """Insert rows from defaults. Those that exist meanwhile stay as they are."""


def claim(taker: Taker, nodes: Nodes, table: Table, keys: Sequence[str], me: int) -> dict[str, LoadOutcome]:
    """Claim and read rows, creating those that are missing where the actor wants that."""
    outcomes: dict[str, LoadOutcome] = {}
    mine = {me}
    rest, may_create = list(dict.fromkeys(keys)), table.schema.create
    if table.transient:
        taker.create(table, sorted(rest))  # two nodes that insert the same rows must not do so in opposite order
    for _ in range(ROUNDS):
        outcomes.update(taker.take(table, rest, mine))
        rest = [key for key in rest if key not in outcomes]
        if not rest:
            return outcomes
        owners = taker.owners(table, rest)
        missing = [key for key in rest if key not in owners]
        foreign = {owner for owner in owners.values() if owner is not None and owner not in mine}
        dead = nodes.dead_among(foreign)
        outcomes.update(_final(owners, mine, dead, nodes))
        if missing and may_create:
            taker.create(table, missing)
            may_create = table.transient
        else:
            outcomes.update((key, Missing()) for key in missing)
        mine |= dead
        rest = [key for key in rest if key not in outcomes]
        if not rest:
            return outcomes
    outcomes.update((key, Locked()) for key in rest)
    return outcomes


def whereabouts(taker: Taker, nodes: Nodes, table: Table, keys: Sequence[str]) -> dict[str, int]:
    """Which of the rows a living node owns, and which one. Takes nothing."""
    owners = {key: owner for key, owner in taker.owners(table, keys).items() if owner is not None}
    dead = nodes.dead_among(set(owners.values()))
    return {key: owner for key, owner in owners.items() if owner not in dead}


def _final(
    owners: Mapping[str, int | None], mine: Collection[int], dead: Collection[int], nodes: Nodes
) -> dict[str, LoadOutcome]:
    """The outcomes of rows that another round would not change."""
    found: dict[str, LoadOutcome] = {}
    for key, owner in owners.items():
        if owner is None or owner in mine:
            found[key] = Locked()  # it could be taken, but wasn't: somebody's open transaction has it
        elif owner not in dead:
            found[key] = OwnedElsewhere(nodes.describe(owner), owner)
    return found
