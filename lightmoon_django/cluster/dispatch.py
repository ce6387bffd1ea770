"""Calls whose actor isn't in memory here: they go to the node that has it, or is to have it."""

from __future__ import annotations

from typing import Protocol

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.forwarding import Forwarding
from lightmoon_django.cluster.incoming import Foreign
from lightmoon_django.cluster.lookups import Lookups, Told
from lightmoon_django.cluster.peers import Peers
from lightmoon_django.cluster.placement import Placement
from lightmoon_django.cluster.translation import Wake
from lightmoon_django.errors import Unavailable
from lightmoon_django.identity import Address

CHOICES = 4  # of two nodes that choose each other for as long; then each tries to claim, and the row decides
WAKE_WITHIN = 10.0  # seconds that an actor which moves may take to come up where it goes


class Rows(Protocol):
    """The actors of this node, and their rows. Implemented by `runtime.node`."""

    def post(self, call: Call) -> None: ...

    def places(self, schema: ActorSchema) -> bool:
        """Whether actors of that class live in one process only, out of several."""

    def owner(self, schema: ActorSchema, key: str, told: Told) -> None:
        """Ask the store which incarnation owns a row, as `Lookups` wants to know it."""

    def release(self, call: Call) -> None:
        """Give the row of an actor that isn't in memory back, if it is this node's; then `give` gets the call."""


class Dispatch:
    """Belongs to the node's loop."""

    def __init__(
        self, me: int, *, rows: Rows, peers: Peers, placement: Placement, forwarding: Forwarding, clock: Clock
    ) -> None:
        self.stopped = False
        self.draining = False  # own new calls are refused
        self.lookups = Lookups(me, peers, clock, self._send, rows.post, rows.owner, self._choose, self._stay)
        self._me = me
        self._rows = rows
        self._peers = peers
        self._placement = placement
        self._forwarding = forwarding
        self._clock = clock
        self._staying: Address | None = None  # whose calls are being posted, to live here

    def takes(self, call: Call) -> bool:
        """Send a call to the node that has its actor or is to have it. False: this one is to claim the row."""
        if self.stopped:
            return False
        if call.finishes:
            return self._refuses(call)
        address = call.address
        if isinstance(call, Foreign):
            return self._turns_away(call, address)
        if address in self.lookups.waiting:
            self.lookups.join(call)
            return True
        if self.draining and not call.hops and self._forwarding.owner_of(address) is not None:
            call.reject(Unavailable("This process is stopping.", retry_after=1.0))
            return True
        return self._forwarding.follow(call, address) or self._places(call, address)

    def _refuses(self, call: Call) -> bool:
        """A reminder runs where it was claimed, unless its actor can't live there or may be elsewhere by now.

        It must not bring the actor up here while calls are on their way: later ones would overtake those.
        """
        address = call.address
        if not self._placement.may_host(call.schema):
            call.reject(Unavailable(f"{address} is not to live in this process.", retry_after=1.0))
        elif address in self.lookups.waiting:
            self.lookups.join(call)
        elif self._forwarding.busy(address):
            self._send(call, self._forwarding.owner_of(address) or 0)
        else:
            return False
        return True

    def _send(self, call: Call, owner: int) -> None:
        if call.finishes:  # it is claimed anew where the actor is
            call.leave_to(owner)
        else:
            self._forwarding.send(call, owner)

    def _turns_away(self, call: Foreign, address: Address) -> bool:
        """Bounce another node's call whose actor isn't here and isn't to come here."""
        if address in self.lookups.waiting or self._forwarding.busy(address):
            call.bounce(None)  # calls of this node's own are on their way, and must not be overtaken
            return True
        if not self._rows.places(call.schema) or self._placement.may_host(call.schema):
            return False
        self._rows.release(call)
        return True

    def _places(self, call: Call, address: Address) -> bool:
        """Find another place for an actor that may be nobody's. False: it is to live here."""
        schema = call.schema
        if self._placement.here(schema) or self.draining or self._placement.draining:
            return False
        if not self._rows.places(schema):
            return False
        if address == self._staying or self._placement.choose(schema) == self._me:
            return False
        if call.hops >= CHOICES and self._placement.may_host(schema):
            return False
        self.lookups.place(call)
        return True

    def _choose(self, schema: ActorSchema) -> int | None:
        found = self._placement.choose(schema)
        if found is not None:
            self._placement.given(found)
        return found

    def _stay(self, calls: list[Call]) -> None:
        """Calls of an actor whose row is this node's, or is to be."""
        if not self._placement.may_host(calls[0].schema):
            for call in calls:
                self._rows.release(call)
            return
        self._staying = calls[0].address
        try:
            for call in calls:
                self._rows.post(call)
        finally:
            self._staying = None

    def give(self, schema: ActorSchema, key: str, calls: list[Call], target: int | None) -> None:
        """This node has given an actor's row back: let `target` have it, or whoever is chosen."""
        if target is not None:
            wake = Wake.of(schema, key, self._clock.monotonic() + WAKE_WITHIN)
            if target in self._peers.living() and target not in self._placement.closing:
                self._forwarding.send(wake, target)
            else:
                self._rows.post(wake)
        for call in calls:
            if isinstance(call, Foreign):
                call.bounce(None)
            else:
                self._rows.post(call)

    def send(self, calls: list[Call], owner: int) -> None:
        """Send calls, in order, to the process whose incarnation owns their actor's row."""
        for call in calls:
            if isinstance(call, Foreign):
                call.bounce(owner)
            elif self.stopped:
                call.reject(Unavailable(f"{call.address} is in the memory of another live process.", retry_after=1.0))
            elif call.finishes:
                call.leave_to(self._peers.network_of(owner) or 0)
            else:
                self.lookups.send(call, owner)

    def hand_on(self, calls: list[Call]) -> None:
        """This node is stopping and has given the row back: let another one run them."""
        for call in calls:
            if isinstance(call, Foreign):
                call.bounce(None)
                continue
            target = self._forwarding.owner_of(call.address) or self._placement.choose(call.schema, other=True)
            if target is None or call.finishes or self.stopped or (self.draining and not call.hops):
                call.reject(Unavailable("This process is stopping.", retry_after=1.0))
            else:
                self._forwarding.send(call, target)
