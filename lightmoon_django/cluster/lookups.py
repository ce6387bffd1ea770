"""Calls that wait until it is known which process has their actor, or is to have it."""

from __future__ import annotations

import functools
from collections.abc import Callable

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.expiry import Sweep, refuse_expired
from lightmoon_django.actor.placement import role_of
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.forwarding import HOP_LIMIT
from lightmoon_django.cluster.peers import Peers
from lightmoon_django.errors import Unavailable
from lightmoon_django.identity import Address

Told = Callable[[int | Exception | None], None]

LOOK_AGAIN = 0.02  # seconds until a node that is stopping is looked up again, to see whether it has gone


class Lookups:
    """Keeps calls in order, per actor, until their way is known. On the node's loop."""

    def __init__(
        self,
        me: int,
        peers: Peers,
        clock: Clock,
        send: Callable[[Call, int], None],
        post: Callable[[Call], None],
        owner: Callable[[ActorSchema, str, Told], None],
        choose: Callable[[ActorSchema], int | None],
        stay: Callable[[list[Call]], None],
    ) -> None:
        """`send` brings a call to another process; `post` lets the store decide anew.

        `owner` asks the store which incarnation has a row: 0 is this node's own, None nobody's. `choose` says which
        process is to have an actor that nobody has; `stay` takes the calls of one that is to live here.
        """
        self.leaving: set[int] = set()  # processes that are stopping, and about to give back all that they have
        self._me = me
        self._peers = peers
        self._clock = clock
        self._send = send
        self._post = post
        self._owner = owner
        self._choose = choose
        self._stay = stay
        self.waiting: dict[Address, list[Call]] = {}
        self._sweep = Sweep(clock, self._expire)
        self._stopped = False

    def __len__(self) -> int:
        return len(self.waiting)

    def __contains__(self, address: Address) -> bool:
        return address in self.waiting

    def join(self, call: Call) -> None:
        """Wait with the others for the same actor."""
        self.waiting[call.address].append(call)

    def send(self, call: Call, owner: int) -> None:
        """Send a call to the process of that incarnation, once it is known and everything before has left."""
        network = self._peers.network_of(owner)
        if call.address in self.waiting:
            self.join(call)
        elif network and network != self._me and network not in self.leaving:
            self._send(call, network)
        else:
            self.waiting[call.address] = [call]
            self._peers.refresh(functools.partial(self._found, call.address, owner))
            self._sweep.start()

    def place(self, call: Call) -> None:
        """Send a call to whoever has its actor, and if nobody has, to whoever is to have it."""
        self.waiting[call.address] = [call]
        self._owner(call.schema, call.key, functools.partial(self._told, call.schema, call.key))
        self._sweep.start()

    def _told(self, schema: ActorSchema, key: str, owner: int | Exception | None) -> None:
        """Where nobody or the database can't tell, whoever is chosen finds out."""
        address = Address(schema.name, key)
        if self._stopped:
            return
        if not self.waiting.get(address):
            self.waiting.pop(address, None)  # their deadlines have passed
        elif owner == 0:
            self._stay(self.waiting.pop(address))
        elif isinstance(owner, int):
            network = self._peers.network_of(owner)
            if network and network not in self.leaving:
                self._go(self.waiting.pop(address), network)
            else:
                self._peers.refresh(functools.partial(self._found, address, owner))
        elif (target := self._choose(schema)) is not None:
            self._go(self.waiting.pop(address), target)
        else:  # nobody is known that may have it
            self._peers.refresh(functools.partial(self._last_choice, schema, address))

    def _last_choice(self, schema: ActorSchema, address: Address) -> None:
        if self._stopped:
            return
        target = self._choose(schema)
        calls = self.waiting.pop(address, [])
        if target is not None:
            self._go(calls, target)
            return
        role = role_of(schema.placement)
        wanted = f"has the role {role!r}, which {address} needs" if role else f"hosts actors, as {address}"
        for call in calls:
            call.reject(Unavailable(f"No living process {wanted}. Start one, see docs/cluster.md.", retry_after=1.0))

    def _go(self, calls: list[Call], target: int) -> None:
        if target == self._me:
            self._stay(calls)
            return
        for call in calls:
            self._send(call, target)

    def let_go(self) -> None:
        """Another name's links take over: what waits here has not left, and is decided anew, in order."""
        calls, self.waiting = self.waiting, {}
        for waiting in calls.values():
            for call in waiting:
                self._post(call)

    def stop(self) -> None:
        """Nothing is looked for any more."""
        self._stopped = True
        self._sweep.stop()
        calls, self.waiting = self.waiting, {}
        for waiting in calls.values():
            for call in waiting:
                call.reject(Unavailable("This process has left its links.", retry_after=1.0))

    def _found(self, address: Address, owner: int) -> None:
        if self._stopped:
            return
        network = self._peers.network_of(owner)
        if network in self.leaving:
            again = functools.partial(self._peers.refresh, functools.partial(self._found, address, owner))
            self._clock.call_at(self._clock.monotonic() + LOOK_AGAIN, again)
            return
        for call in self.waiting.pop(address, ()):
            if network and network != self._me:
                self._send(call, network)
            elif network == 0 or call.hops > HOP_LIMIT:
                call.reject(Unavailable(f"{address} is in a process that has no links to this one.", retry_after=1.0))
            else:  # it has died meanwhile: the store gives the actor to this node, or knows better
                call.hops += 1
                self._post(call)

    def _expire(self, now: float) -> bool:
        refuse_expired(self.waiting.values(), now, "The deadline passed before the actor's process was found.")
        return bool(self.waiting)
