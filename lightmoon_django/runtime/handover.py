"""Actors that leave this node for another one: all of them when it stops, a few when others have less to do.

Each actor finishes its turn and leaves memory; its row is given back; then whatever waits for it, and whatever comes
later, goes to another node, in the order it came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.expiry import Sweep, refuse_expired
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.errors import Unavailable
from lightmoon_django.identity import Address
from lightmoon_django.persistence.places import row_of
from lightmoon_django.runtime.repeats import BEQUEST_WITHIN, Bequest

if TYPE_CHECKING:
    from lightmoon_django.persistence.driver import StoreQueue
    from lightmoon_django.runtime.activation import Activation
    from lightmoon_django.runtime.node import Node
    from lightmoon_django.runtime.surroundings import Elsewhere

EXPECTED = 50_000  # actors whose answers may be on their way here; of more the oldest are forgotten


class GivingBack:
    """Rows that are being given back, and the calls that wait for it. On the node's loop."""

    def __init__(self, node: Node, then: Callable[[ActorSchema, str, list[Call]], None]) -> None:
        """`then` gets the calls of an actor whose row is nobody's now, as far as this node is concerned."""
        self._node = node
        self._then = then
        self.waiting: dict[Address, list[Call]] = {}
        self._sweep = Sweep(node.clock, self._expire)
        self._due: dict[StoreQueue, list[tuple[ActorSchema, str]]] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def join(self, address: Address, calls: list[Call]) -> bool:
        """Let calls wait with the others. False: that row is not being given back."""
        waiting = self.waiting.get(address)
        if waiting is None:
            return False
        waiting += calls
        return True

    def begin(self, schema: ActorSchema, key: str, store: StoreQueue, calls: list[Call]) -> None:
        """Give a row back, together with all others of this pass of the loop."""
        self.waiting[Address(schema.name, key)] = calls
        self._sweep.start()
        if not self._due:
            self._node.loop.call_soon(self._flush)
        self._due.setdefault(store, []).append((schema, key))

    def _flush(self) -> None:
        due, self._due = self._due, {}
        self._announce([Address(schema.name, key) for keys in due.values() for schema, key in keys])
        for store, keys in due.items():
            store.disown([row_of(*one) for one in keys], lambda _, keys=keys: self._given_back(keys))  # type: ignore[misc]

    def _announce(self, leaving: list[Address]) -> None:
        """Whoever has an actor next may get a repeated call sooner than the answers that are remembered here."""
        remembering = [one for one in leaving if any(type(call) is Bequest for call in self.waiting[one][:1])]
        if remembering and self._node.elsewhere is not None:
            self._node.elsewhere.announce_moving(remembering)

    def _given_back(self, keys: list[tuple[ActorSchema, str]]) -> None:
        for schema, key in keys:
            self._then(schema, key, self.waiting.pop(Address(schema.name, key)))

    def _expire(self, now: float) -> bool:
        """Nobody waits beyond the deadline for a database that doesn't answer."""
        reason = "The deadline passed while the actor moved. The call did not run."
        refuse_expired(self.waiting.values(), now, reason)
        return bool(self.waiting)


class Expected:
    """Actors that other nodes give up, and whose answers to repeated calls may be on their way to this one."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[Address, float] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._until)

    def add(self, address: Address) -> None:
        now = self._monotonic()
        while self._until and next(iter(self._until.values())) <= now:
            del self._until[next(iter(self._until))]
        if len(self._until) >= EXPECTED:
            del self._until[next(iter(self._until))]
        self._until.pop(address, None)
        self._until[address] = now + BEQUEST_WITHIN

    def discard(self, address: Address) -> None:
        self._until.pop(address, None)

    def __contains__(self, address: Address) -> bool:
        until = self._until.get(address)
        return until is not None and until > self._monotonic()


class Handover:
    """A stop: whatever this node has, and whatever still comes to it, goes to others. On the node's loop."""

    def __init__(self, node: Node, elsewhere: Elsewhere) -> None:
        self._node = node
        self._elsewhere = elsewhere
        self._leaving = GivingBack(node, self._given_back)
        self._left: set[Address] = set()

    def __len__(self) -> int:
        return len(self._leaving)

    def take(self, schema: ActorSchema, key: str, calls: list[Call]) -> None:
        """Give an actor that is not in memory to another node, with its calls."""
        address = Address(schema.name, key)
        if self._leaving.join(address, calls):
            return
        directory = self._node.directory_of(schema)
        if address in self._left:
            self._pass(calls)
        elif directory is None:  # it lived here only
            for call in calls:
                call.reject(Unavailable("This process is stopping.", retry_after=1.0))
        else:
            self._leaving.begin(schema, key, directory, calls)

    def _given_back(self, schema: ActorSchema, key: str, calls: list[Call]) -> None:
        self._left.add(Address(schema.name, key))
        self._pass(calls)

    def _pass(self, calls: list[Call]) -> None:
        for call in calls:
            if not self._elsewhere.takes(call):
                self._elsewhere.hand_on([call])


class Moves:
    """Single actors that move to another node while this one goes on. On the node's loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._targets: dict[Address, int] = {}  # of those that finish what they do
        self._leaving = GivingBack(node, self._given_back)

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._targets) + len(self._leaving.waiting)

    def __contains__(self, address: Address) -> bool:
        return bool(self._targets) and address in self._targets

    def begin(self, activation: Activation, target: int) -> None:
        """Let an actor finish its turn, leave memory, and go on at the node `target`."""
        self._targets[activation.address] = target
        self._node.catalog.deactivate(activation)

    def takes(self, schema: ActorSchema, key: str, calls: list[Call]) -> bool:
        """Keep the calls of an actor that has left memory, where it moves. False: it doesn't."""
        address = Address(schema.name, key)
        if self._leaving.join(address, calls):
            return True
        if address not in self._targets:
            return False
        self.release(schema, key, calls)
        return True

    def release(self, schema: ActorSchema, key: str, calls: list[Call]) -> None:
        """Give the row of an actor back that is not in memory, and let its calls go wherever it comes to live."""
        directory = self._node.directory_of(schema)
        assert directory is not None
        if not self._leaving.join(Address(schema.name, key), calls):
            self._leaving.begin(schema, key, directory, calls)

    def _given_back(self, schema: ActorSchema, key: str, calls: list[Call]) -> None:
        target = self._targets.pop(Address(schema.name, key), None)
        if self._node.elsewhere is not None:
            self._node.elsewhere.give(schema, key, calls, target)
            return
        for call in calls:
            self._node.post(call)
