"""Calls to actors that another node owns, and those of other nodes to actors here.

A call is sent to the node that is believed to own its actor. That node runs it, or bounces it. Order is kept per route
(this node to one actor): frames of a link arrive in order; after a bounce everything of that route bounces too, because
each route carries a generation; and what has bounced is sent anew only when nothing sent before it is still open. Who
has an actor is in its row alone: a route is only a belief, and is dropped at the first bounce or when its node dies.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Any, Protocol

from lightmoon_django.actor.call import Call
from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.cluster.incoming import Incoming, RemoteCall
from lightmoon_django.cluster.translation import described
from lightmoon_django.errors import LightMoonError, OutcomeUnknown, Overloaded, Unavailable
from lightmoon_django.identity import Address
from lightmoon_django.messages import Answer, Bounce, Cancel, Failure, encode, error_of

logger = logging.getLogger("lightmoon")

HOP_LIMIT = 8  # times that a call may be sent on because its actor moved
ROUTES_KEPT = 100_000  # beliefs about who owns what, while nothing is open on them
SWEEP = 0.25  # seconds between looks for calls whose deadline has passed
GRACE = 1.0  # seconds past its deadline that the owner has to say how a call ended


class Full(Exception):
    """The link's window is full. Raised by the carrier of frames; a port's error, so it is defined by its caller."""


class Carrier(Protocol):
    """How frames reach other nodes, in order. Implemented by `cluster.network`."""

    def send(self, peer: int, frame: bytes) -> None:
        """Raises `Full`, or `LookupError` for a node that can't be reached."""


class Route:
    """One actor as this node reaches it: who is believed to own it, and what is open."""

    __slots__ = ("generation", "moving", "owner", "sent", "waiting")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.generation = 0
        self.moving = False  # something has bounced: nothing is sent until all that was sent has ended
        self.sent: dict[int, Call] = {}
        self.waiting: list[Call] = []  # bounced, and later ones, in order


class Forwarding:
    """One node's calls to and from others. Belongs to the node's loop."""

    def __init__(self, me: int, carrier: Carrier, clock: Clock, post: Callable[[Call], None]) -> None:
        self.me = me
        self._carrier = carrier
        self._clock = clock
        self._post = post
        self._ids = itertools.count(1)
        self._routes: dict[Address, Route] = {}
        self._open: dict[int, tuple[Call, Address]] = {}
        self._sweeping: Cancellable | None = None

    # Out

    def owner_of(self, address: Address) -> int | None:
        """The node to which calls to that actor go now; None when the store must be asked."""
        route = self._routes.get(address)
        return route.owner if route is not None else None

    def send(self, call: Call, owner: int) -> None:
        """Send a call to the node that owns its actor. Its `resolve` or `reject` follows."""
        if isinstance(call, RemoteCall):
            call.bounce(owner)
            return
        address = call.address
        route = self._routes.get(address)
        if route is None:
            route = self._new_route(address, owner)
        if route.moving:
            route.waiting.append(call)
        else:
            self._transmit(call, address, route)

    def cancel(self, call: Call) -> bool:
        """Take back a call that was sent on. False: it wasn't."""
        for id, (one, address) in self._open.items():
            if one is call:
                self._try_to_send(self._routes[address].owner, encode(Cancel(id)))
                return True
        return False

    def _new_route(self, address: Address, owner: int) -> Route:
        if len(self._routes) >= ROUTES_KEPT:
            for idle in [key for key, route in self._routes.items() if not route.sent][: ROUTES_KEPT // 10]:
                del self._routes[idle]
        route = self._routes[address] = Route(owner)
        return route

    def _transmit(self, call: Call, address: Address, route: Route) -> None:
        if call.hops > HOP_LIMIT:
            call.reject(Unavailable(f"{address} moves from node to node.", retry_after=1.0))
            return
        id = next(self._ids)
        frame = encode(described(call, id, route.generation, self._clock.monotonic(), self.me))
        try:
            self._carrier.send(route.owner, frame)
        except Full:
            call.reject(Overloaded("The link to the actor's node is full.", retry_after=0.1))
        except LookupError:
            del self._routes[address]
            call.reject(Unavailable(f"The node of {address} can't be reached.", retry_after=1.0))
        else:
            route.sent[id] = call
            self._open[id] = (call, address)
            self._watch()

    def _try_to_send(self, peer: int, frame: bytes) -> None:
        try:
            self._carrier.send(peer, frame)
        except (Full, LookupError):
            logger.debug("A frame to node %s was dropped.", peer)

    # Back

    def ended(self, frame: Answer | Failure) -> None:
        """A call that was sent on has ended."""
        call = self._close(frame.id)
        if call is None:
            return
        if isinstance(frame, Answer):
            call.resolve(frame.payload)
        else:
            call.reject(error_of(frame))

    def bounced(self, frame: Bounce) -> None:
        """The node to which a call was sent doesn't own its actor."""
        found = self._open.get(frame.id)
        if found is None:
            return
        call, address = found
        route = self._routes[address]
        route.moving = True
        call.hops += 1
        route.waiting.append(call)
        self._close(frame.id)

    def died(self, peer: int) -> None:
        """A node is dead, and with it what it had accepted."""
        for address, route in list(self._routes.items()):
            if route.owner != peer:
                continue
            route.moving = True
            for id, call in list(route.sent.items()):
                if _may_be_repeated(call):
                    call.hops += 1
                    route.waiting.append(call)
                    self._close(id)
                else:
                    self._close(id)
                    call.reject(OutcomeUnknown("The actor's node died before it answered."))
            self._settle(address, route)

    def _close(self, id: int) -> Call | None:
        found = self._open.pop(id, None)
        if found is None:
            return None
        call, address = found
        route = self._routes[address]
        route.sent.pop(id, None)
        self._settle(address, route)
        return call

    def _settle(self, address: Address, route: Route) -> None:
        """Once nothing is open on a route that moves, ask the store anew, in order."""
        if not route.moving or route.sent:
            return
        if self._routes.get(address) is route:
            del self._routes[address]
        waiting, route.waiting = route.waiting, []
        for call in waiting:
            self._post(call)

    # Deadlines

    def _watch(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._clock.call_at(self._clock.monotonic() + SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._clock.monotonic()
        for id, (call, _) in list(self._open.items()):
            if call.deadline + GRACE <= now:
                self._close(id)
                call.reject(OutcomeUnknown("The deadline passed, and the actor's node has not answered."))
        if self._open:
            self._watch()

    def stop(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        for id, (call, _) in list(self._open.items()):
            self._close(id)
            call.reject(OutcomeUnknown("This process ended before the actor's node had answered."))


def _may_be_repeated(call: Call) -> bool:
    """Whether running it again does no harm: it only reads, or its first answer is stored with its turn."""
    return call.message.options.read_only or (call.identity is not None and call.message.options.once)


__all__ = ["Any", "Carrier", "Forwarding", "Full", "Incoming", "LightMoonError"]
