"""Actors that live here move to where they belong: away from a node that has more to do than others, or shouldn't
host them any more.

A few at a time, at a moment when nothing of theirs is under way, so that no caller waits for longer than it takes to
give a row back and to claim it. Subscribed actors stay, as their streams would be reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.cluster.placement import Placement

AT_ONCE = 32  # actors that are under way from one node
SEEN_AT_ONCE = 2000  # actors that one look considers


class Movable(Protocol):
    """An actor in memory that can leave now. Implemented by `runtime.activation`."""

    schema: ActorSchema


class Removals(Protocol):
    """The actors of this node. Implemented by `runtime.node`."""

    @property
    def moving(self) -> int:
        """How many are on their way to other nodes."""

    def schemas(self) -> list[ActorSchema]:
        """Of the actors that this node has had in memory."""

    def movable(self, limit: int, wanted: Callable[[ActorSchema], bool]) -> Iterable[Movable]:
        """Some of those actors that nothing is under way of, out of the next `limit`, in turn."""

    def move(self, activation: Any, target: int) -> None:
        """Let one of those go on at another node."""


class Balance:
    """Looks whenever the table of nodes was read. On the node's loop."""

    def __init__(self, placement: Placement, removals: Removals) -> None:
        self._placement = placement
        self._removals = removals

    def look(self) -> None:
        """Let a few actors move, if any should."""
        room = AT_ONCE - self._removals.moving
        due = {schema: count for schema in self._removals.schemas() if (count := self._due(schema)) > 0}
        if room <= 0 or not due:
            return
        for activation in self._removals.movable(SEEN_AT_ONCE, due.__contains__):
            schema = activation.schema
            if due[schema] <= 0:
                continue
            target = self._placement.choose(schema, other=True)
            if target is None:
                continue
            due = {one: left - 1 for one, left in due.items()}  # the surplus is one for all
            self._placement.given(target)
            self._removals.move(activation, target)
            room -= 1
            if room <= 0:
                return

    def _due(self, schema: ActorSchema) -> int:
        """How many actors of that class should leave."""
        if not schema.persistent:  # it would lose all that it has
            return 0
        return AT_ONCE if self._placement.misplaced(schema) else self._placement.surplus(schema)
