"""Calls to actors that another node owns.

A call is sent to the node that is believed to own its actor. That node runs it, or bounces it. Order is kept per route
(this node to one actor): frames of a link arrive in order; after a bounce everything of that route bounces too, because
each route carries a generation; and what has bounced is sent anew only when nothing sent before it is still open. Who
has an actor is in its row alone: a route is only a belief, and is dropped at the first bounce or when its node dies.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from lightmoon_django.actor.call import Call, Subscription
from lightmoon_django.actor.expiry import Sweep
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.translation import ForeignTurn, described
from lightmoon_django.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidParams,
    LightMoonError,
    OutcomeUnknown,
    Overloaded,
    TooLarge,
    Unavailable,
)
from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import MAX_PAYLOAD, Answer, Bounce, Cancel, Failure, Follow, Remote, encode, error_of

if TYPE_CHECKING:
    from lightmoon_django.actor.turn import Turn

logger = logging.getLogger("lightmoon")

HOP_LIMIT = 8  # times that a call may be sent on because its actor moved
ROUTES_KEPT = 100_000  # beliefs about who owns what, while nothing is open on them
GRACE = 1.0  # seconds past its deadline that the owner has to say how a call ended


class Frames(Protocol):
    """How frames reach other nodes, in order. Implemented by `postbox.Postbox`."""

    def send(self, peer: int, frame: bytes) -> None:
        """Raises `Overloaded` when the link is full, and `LinkClosed` for a node that is dead."""

    def post(self, peer: int, frame: bytes) -> None:
        """Never raises."""


class ActorRoute:
    """One actor as this node reaches it: who is believed to own it, and what is open."""

    __slots__ = ("address", "generation", "moving", "owner", "sent", "waiting")

    def __init__(self, address: Address, owner: int, generation: int) -> None:
        self.address = address
        self.owner = owner
        self.generation = generation
        self.moving = False  # something has bounced: nothing is sent until all that was sent has ended
        self.sent: dict[int, Call] = {}
        self.waiting: list[tuple[int, Call]] = []  # bounced, and later ones, with their place in the order


class Forwarding:
    """One node's calls to others. Belongs to the node's loop."""

    def __init__(
        self,
        me: int,
        frames: Frames,
        clock: Clock,
        post: Callable[[Call], None],
        joined: Callable[[Subscription, int, Position], None],
        grouped: Callable[[int, str], bool],
    ) -> None:
        """`post` lets the store decide anew. `joined` hears that a node has taken a subscription, before its answer.

        `grouped` tells whether a node's streams of such actors had better come as casts.
        """
        self.me = me
        self.turns: weakref.WeakValueDictionary[int, Turn] = weakref.WeakValueDictionary()  # that wait for other nodes
        self._frames = frames
        self._clock = clock
        self._post = post
        self._joined = joined
        self._grouped = grouped
        self._ids = itertools.count(1)
        self._routes: dict[Address, ActorRoute] = {}
        self._open: dict[int, ActorRoute] = {}
        self._numbers: dict[Call, int] = {}
        self._silent: dict[int, tuple[int, Subscription]] = {}  # given up; their owners may join them all the same
        self._sweep = Sweep(clock, self._expire)

    def __len__(self) -> int:
        return len(self._open)

    # Out

    def owner_of(self, address: Address) -> int | None:
        """The node to which calls to that actor go now; None when the store must be asked."""
        route = self._routes.get(address)
        return route.owner if route is not None else None

    def follow(self, call: Call, address: Address) -> bool:
        """Send a call where the earlier ones to its actor went. False: it is not known where that is."""
        route = self._routes.get(address)
        if route is None:
            return False
        if route.moving or call.cancelled or len(call.payload) > MAX_PAYLOAD:
            self._send(call, route)
        else:
            self._transmit(call, route)
        return True

    def busy(self, address: Address) -> bool:
        """Whether calls to that actor are on their way."""
        route = self._routes.get(address)
        return route is not None and bool(route.sent)

    def send(self, call: Call, owner: int) -> None:
        """Send a call to the node that owns its actor. Its `resolve` or `reject` follows."""
        address = call.address
        self._send(call, self._routes.get(address) or self._new_route(address, owner))

    def _send(self, call: Call, route: ActorRoute) -> None:
        if call.cancelled:  # while its way was looked for
            call.reject(Cancelled("The caller cancelled the call before it was sent."))
        elif route.moving:
            route.waiting.append((next(self._ids), call))
        elif len(call.payload) > MAX_PAYLOAD:
            call.reject(TooLarge(f"Arguments of {len(call.payload)} bytes are over the limit between nodes."))
        else:
            self._transmit(call, route)

    def cancel(self, call: Call) -> bool:
        """Take back a call that was sent on. False: it wasn't."""
        id = self._numbers.get(call)
        if id is None:
            return False
        self._frames.post(self._open[id].owner, encode(Cancel(id)))
        return True

    def _new_route(self, address: Address, owner: int) -> ActorRoute:
        if len(self._routes) >= ROUTES_KEPT:
            for idle in [key for key, route in self._routes.items() if not route.sent][: ROUTES_KEPT // 10]:
                del self._routes[idle]
        route = self._routes[address] = ActorRoute(address, owner, next(self._ids))
        return route

    def _transmit(self, call: Call, route: ActorRoute) -> None:
        if call.hops > HOP_LIMIT:
            call.reject(Unavailable(f"{route.address} moves from node to node.", retry_after=1.0))
            return
        id = next(self._ids)
        try:
            data = encode(self._framed(call, id, route))
        except (OverflowError, TypeError, ValueError) as error:
            call.reject(InvalidParams(f"The call can't be sent to the actor's node: {error}"))
            return
        try:
            self._frames.send(route.owner, data)
        except Overloaded:
            call.reject(Overloaded("The link to the actor's node is full.", retry_after=0.1))
        except LinkClosed:  # it has died meanwhile
            call.hops += 1
            route.moving = True
            route.waiting.append((id, call))
            self._settle(route)
        else:
            route.sent[id] = call
            self._open[id] = route
            self._numbers[call] = id
            if call.chain:
                self.turns.update((turn.number, turn) for turn in call.chain if not isinstance(turn, ForeignTurn))
            if self._sweep.resting:
                self._sweep.start()

    def _framed(self, call: Call, id: int, route: ActorRoute) -> Remote | Follow:
        frame = described(call, id, route.generation, self._clock.monotonic(), self.me)
        if not isinstance(call, Subscription):
            return frame
        grouped = self._grouped(route.owner, call.schema.name)
        return Follow(frame, call.since, grouped, tuple(call.hidden), call.meta)

    # Back

    def address_of(self, id: int) -> Address | None:
        """Whose answer is open under that number."""
        route = self._open.get(id)
        return route.address if route is not None else None

    def ended(self, peer: int, frame: Answer | Failure) -> bool:
        """A call that was sent on has ended. False: nobody waits for it any more."""
        call = self._close(frame.id)
        if call is None:
            self._ended_late(peer, frame)
            return False
        if isinstance(frame, Failure):
            call.reject(error_of(frame))
            return True
        if isinstance(call, Subscription) and frame.position is not None:
            self._joined(call, peer, Position(*frame.position))
        call.resolve(frame.payload)
        return True

    def _ended_late(self, peer: int, frame: Answer | Failure) -> None:
        _, call = self._silent.pop(frame.id, (0, None))
        if call is not None and isinstance(frame, Answer) and frame.position is not None:
            self._joined(call, peer, Position(*frame.position))
            call.joined_late()

    def bounced(self, frame: Bounce) -> None:
        """The node to which a call was sent doesn't own its actor."""
        self._silent.pop(frame.id, None)
        self._move(frame.id)

    def let_go(self) -> None:
        """Another name's links take over, and no answer comes by these: as if all others had died."""
        for owner in {route.owner for route in self._routes.values()}:
            self.died(owner)

    def left(self, peer: int) -> None:
        """A node is stopping, and has ended all calls that it ran: what is still open there goes another way."""
        self.died(peer, self._open)

    def died(self, peer: int, unsent: Collection[int] = ()) -> None:
        """A node is dead, and with it what it had accepted; the calls in `unsent` never got there."""
        unsent = frozenset(unsent)
        self._silent = {id: one for id, one in self._silent.items() if one[0] != peer}
        for route in [route for route in self._routes.values() if route.owner == peer]:
            route.moving = True
            for id, call in list(route.sent.items()):
                if id in unsent or _may_be_repeated(call):
                    if call.identity is not None and id not in unsent:
                        call.identity.perhaps_ran = True
                    self._move(id)
                else:
                    self._close(id)
                    call.reject(OutcomeUnknown("The actor's node died before it answered."))
            self._settle(route)

    def _move(self, id: int) -> None:
        """A call did no harm where it was sent, and goes another way, in its place in the order."""
        route = self._open.get(id)
        if route is None:
            return
        call = route.sent[id]
        call.hops += 1
        route.moving = True
        route.waiting.append((id, call))
        self._close(id)

    def _close(self, id: int) -> Call | None:
        route = self._open.pop(id, None)
        if route is None:
            return None
        call = route.sent.pop(id)
        del self._numbers[call]
        if route.moving:
            self._settle(route)
        return call

    def _settle(self, route: ActorRoute) -> None:
        """Once nothing is open on a route that moves, ask the store anew, in order."""
        if not route.moving or route.sent:
            return
        if self._routes.get(route.address) is route:
            del self._routes[route.address]
        waiting, route.waiting = sorted(route.waiting, key=lambda one: one[0]), []
        for _, call in waiting:
            if call.hops > HOP_LIMIT:
                call.reject(Unavailable(f"{route.address} moves from node to node.", retry_after=1.0))
            else:
                self._post(call)

    # Deadlines

    def _expire(self, now: float) -> bool:
        for id, route in list(self._open.items()):
            call = route.sent.get(id)
            if call is not None and call.deadline + GRACE <= now:
                self._close(id)
                if isinstance(call, Subscription):
                    self._silent[id] = route.owner, call
                call.reject(_silence(call))
        for route in {route.generation: route for route in self._open.values() if route.waiting}.values():
            for place in [place for place in route.waiting if place[1].deadline <= now]:
                route.waiting.remove(place)
                place[1].reject(DeadlineExceeded("The deadline passed while the actor moved. The call did not run."))
        return bool(self._open)

    def stop(self) -> None:
        """End every call that is open."""
        self._sweep.stop()
        waiting = [call for route in self._routes.values() for _, call in route.waiting]
        for route in self._routes.values():
            route.waiting = []
        for id in list(self._open):
            call = self._close(id)
            if call is not None:
                call.reject(OutcomeUnknown("This process left its links before the actor's node had answered."))
        for call in waiting:
            call.reject(Unavailable("This process has left its links.", retry_after=1.0))


def _may_be_repeated(call: Call) -> bool:
    """Whether running it again does no harm: it only reads or follows, or its first answer is stored with its turn."""
    options = call.message.options
    return options.read_only or isinstance(call, Subscription) or (call.identity is not None and options.once)


def _silence(call: Call) -> LightMoonError:
    if call.message.options.read_only:
        return DeadlineExceeded("The deadline passed, and the actor's node has not answered.")
    return OutcomeUnknown("The deadline passed, and the actor's node has not answered.")
