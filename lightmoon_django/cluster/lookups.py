"""Calls whose actor belongs to an incarnation of which it isn't known yet which process has it."""

from __future__ import annotations

import functools
from collections.abc import Callable

from lightmoon_django.actor.call import Call
from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.cluster.forwarding import HOP_LIMIT
from lightmoon_django.cluster.peers import Peers
from lightmoon_django.errors import DeadlineExceeded, Unavailable
from lightmoon_django.identity import Address

LOOK_AGAIN = 0.02  # seconds until a node that is stopping is looked up again, to see whether it has gone
SWEEP = 0.25  # seconds between looks for calls whose deadline has passed


class Lookups:
    """Keeps calls in order, per actor, until their way is known. On the node's loop."""

    def __init__(
        self,
        me: int,
        peers: Peers,
        clock: Clock,
        send: Callable[[Call, int], None],
        post: Callable[[Call], None],
    ) -> None:
        """`send` brings a call to another process; `post` lets the store decide anew."""
        self.leaving: set[int] = set()  # processes that are stopping, and about to give back all that they have
        self._me = me
        self._peers = peers
        self._clock = clock
        self._send = send
        self._post = post
        self._calls: dict[Address, list[Call]] = {}
        self._sweeping: Cancellable | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, address: Address) -> bool:
        return address in self._calls

    def join(self, call: Call) -> None:
        """Wait with the others for the same actor."""
        self._calls[call.address].append(call)

    def send(self, call: Call, owner: int) -> None:
        """Send a call to the process of that incarnation, once it is known and everything before has left."""
        network = self._peers.network_of(owner)
        if call.address in self._calls:
            self.join(call)
        elif network and network != self._me and network not in self.leaving:
            self._send(call, network)
        else:
            self._calls[call.address] = [call]
            self._peers.refresh(functools.partial(self._found, call.address, owner))
            self._watch()

    def let_go(self) -> None:
        """Another name's links take over: what waits here has not left, and is decided anew, in order."""
        calls, self._calls = self._calls, {}
        for waiting in calls.values():
            for call in waiting:
                self._post(call)

    def stop(self) -> None:
        """Nothing is looked for any more."""
        self._stopped = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        calls, self._calls = self._calls, {}
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
        for call in self._calls.pop(address, ()):
            if network and network != self._me:
                self._send(call, network)
            elif network == 0 or call.hops > HOP_LIMIT:
                call.reject(Unavailable(f"{address} is in a process that has no links to this one.", retry_after=1.0))
            else:  # it has died meanwhile: the store gives the actor to this node, or knows better
                call.hops += 1
                self._post(call)

    def _watch(self) -> None:
        if self._sweeping is None:
            self._sweeping = self._clock.call_at(self._clock.monotonic() + SWEEP, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        now = self._clock.monotonic()
        for waiting in self._calls.values():
            for call in [call for call in waiting if call.deadline <= now]:
                waiting.remove(call)
                call.reject(DeadlineExceeded("The deadline passed before the actor's process was found."))
        if self._calls:
            self._watch()
