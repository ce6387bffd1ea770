"""A node that stops gives its actors to those that stay.

Each actor finishes its turn and leaves memory; its row is given back; then whatever waits for it, and whatever comes
later, goes to another node, in the order it came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.errors import Unavailable
from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.persistence.driver import StoreQueue
    from lightmoon_django.runtime.node import Elsewhere, Node


class Handover:
    """What is on its way to other nodes. On the node's loop."""

    def __init__(self, node: Node, elsewhere: Elsewhere) -> None:
        self._node = node
        self._elsewhere = elsewhere
        self._leaving: dict[Address, list[Call]] = {}  # their rows are being given back
        self._left: set[Address] = set()
        self._due: dict[StoreQueue, list[tuple[ActorSchema, str]]] = {}

    def __len__(self) -> int:
        return len(self._leaving)

    def take(self, schema: ActorSchema, key: str, calls: list[Call]) -> None:
        """Give an actor that is not in memory to another node, with its calls."""
        address = Address(schema.name, key)
        waiting = self._leaving.get(address)
        if waiting is not None:
            waiting += calls
        elif address in self._left:
            self._pass(calls)
        else:
            self._leaving[address] = calls
            self._give_back(schema, key)

    def _give_back(self, schema: ActorSchema, key: str) -> None:
        store = self._node.store_of(schema)
        if store is None:  # it lived here only
            for call in self._leaving.pop(Address(schema.name, key)):
                call.reject(Unavailable("This process is stopping.", retry_after=1.0))
            return
        if not self._due:
            self._node.loop.call_soon(self._flush)
        self._due.setdefault(store, []).append((schema, key))

    def _flush(self) -> None:
        due, self._due = self._due, {}
        for store, keys in due.items():
            store.disown(keys, lambda _, keys=keys: self._given_back(keys))  # type: ignore[misc]

    def _given_back(self, keys: list[tuple[ActorSchema, str]]) -> None:
        for schema, key in keys:
            address = Address(schema.name, key)
            self._left.add(address)
            self._pass(self._leaving.pop(address))

    def _pass(self, calls: list[Call]) -> None:
        for call in calls:
            if not self._elsewhere.takes(call):
                self._elsewhere.hand_on([call])
