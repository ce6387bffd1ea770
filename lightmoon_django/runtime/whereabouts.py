"""Who owns which rows: asked of the stores for many actors at once, without taking any."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.schema import ActorSchema

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
            keys = list({(schema, key): None for schema, key, _ in asked})
            store.query(lambda store, keys=keys: _look(store, keys), lambda found, asked=asked: _tell(asked, found))  # type: ignore[misc]


def _look(store: Store, keys: list[tuple[ActorSchema, str]]) -> dict[tuple[str, str], int]:
    me = store.incarnation()
    return {address: MINE if owner == me else owner for address, owner in store.whereabouts(keys).items()}


def _tell(asked: list[tuple[ActorSchema, str, Told]], found: Any) -> None:
    for schema, key, told in asked:
        told(found if isinstance(found, Exception) else found.get((schema.name, key)))
