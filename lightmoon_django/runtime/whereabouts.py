"""Who owns which rows: asked of the stores for many actors at once, without taking any."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence.places import row_of

if TYPE_CHECKING:
    from lightmoon_django.persistence.driver import StoreQueue
    from lightmoon_django.persistence.store import Store
    from lightmoon_django.runtime.node import Node

Told = Callable[[int | Exception | None], None]

MINE = 0  # the owner is this node itself


class Whereabouts:
    """The questions of one pass of the loop, one query per database."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._due: dict[StoreQueue, list[tuple[ActorSchema, str, Told]]] = {}

    def ask(self, schema: ActorSchema, key: str, store: StoreQueue, told: Told) -> None:
        """`told` hears which living incarnation owns the row, `MINE`, None, or what the database raised."""
        if not self._due:
            self._node.loop.call_soon(self._flush)
        self._due.setdefault(store, []).append((schema, key, told))

    def _flush(self) -> None:
        due, self._due = self._due, {}
        for store, asked in due.items():
            rows = list({row_of(schema, key): None for schema, key, _ in asked})
            store.query(lambda store, rows=rows: _look(store, rows), lambda found, asked=asked: _tell(asked, found))  # type: ignore[misc]


def _look(store: Store, rows: list[tuple[ActorSchema, str]]) -> dict[tuple[str, str], int]:
    me = store.incarnation()
    return {address: MINE if owner == me else owner for address, owner in store.whereabouts(rows).items()}


def _tell(asked: list[tuple[ActorSchema, str, Told]], found: Any) -> None:
    for schema, key, told in asked:
        row, id = row_of(schema, key)
        told(found if isinstance(found, Exception) else found.get((row.name, id)))
