"""The actors of other nodes, and what other nodes want of the actors here. Implements `runtime.node.Elsewhere`.

One cluster is one network id. A process whose lease has ended, and which others hold for dead, gets another.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from lightmoon_django.actor.call import Call, Subscription
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.arrivals import Arrivals
from lightmoon_django.cluster.forwarding import Forwarding
from lightmoon_django.cluster.incoming import Foreign, Incoming
from lightmoon_django.cluster.lookups import Lookups
from lightmoon_django.cluster.mirrors import Mirrors
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.outlets import Outlet, Outlets
from lightmoon_django.cluster.peers import Peers, Query
from lightmoon_django.cluster.postbox import Postbox
from lightmoon_django.cluster.route import Carrier
from lightmoon_django.cluster.translation import user_key
from lightmoon_django.cluster.users import Users
from lightmoon_django.errors import Unavailable
from lightmoon_django.identity import Address
from lightmoon_django.messages import (
    AccessChange,
    Answer,
    Bounce,
    Cancel,
    Ended,
    Failure,
    Follow,
    Frame,
    Leaving,
    Remote,
    Streamed,
    Unfollow,
    decode,
    encode,
)

logger = logging.getLogger("lightmoon")

DRAIN_STEP = 0.005  # seconds between two looks at whether everything has ended
LOOK_PATIENCE = 2.0  # seconds that a stopping node waits to hear who else is alive


class Home(Protocol):
    """The actors of this node. Implemented by `runtime.node`."""

    def post(self, call: Call) -> None: ...

    def cancel(self, call: Call) -> None: ...

    def follower_left(self, address: Address, outlet: str, subscriber: str, user: Any) -> None:
        """A session on another node has left; `outlet` names that node if it was the last one there, else empty."""


class Cluster:
    """Everything on the node's loop, but for queries and users, which have a thread of their own."""

    def __init__(
        self,
        me: int,
        *,
        home: Home,
        clock: Clock,
        secrets: Sequence[str],
        carriers: Sequence[Carrier],
        query: Query,
        load_user: Callable[[str], Any],
        close_thread: Callable[[], None],
        on_access: Callable[[AccessChange], None] = lambda change: None,
    ) -> None:
        """`query` as for `Peers`, `load_user` as for `Users`; `close_thread` is called when their thread ends.

        `on_access` hears of what others announce.
        """
        self.me = me
        self._home = home
        self._clock = clock
        self._pid = os.getpid()
        self._stopped = False
        self._draining = False
        self._close_thread = close_thread
        self._on_access = on_access
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None
        self.peers = Peers(me, clock, query, self._in_thread, self._died)
        self.network = Network(
            me,
            secrets=secrets,
            carriers=carriers,
            lookup=self.peers.endpoint,
            on_frame=self._on_frame,
            on_trouble=self.peers.suspect,
            clock=clock,
        )
        self._postbox = Postbox(self.network.send, clock)
        self._forwarding = Forwarding(me, self._postbox, clock, home.post, self._joined)
        self._mirrors = Mirrors()
        self._outlets = Outlets(
            self._postbox.offer,
            self._postbox.post,
            lambda flush: asyncio.get_running_loop().call_soon(flush),
            self._drop,
        )
        turn_of = self._forwarding.turns.get
        self._incoming = Incoming(me, clock, self._reply, home.post, home.cancel, turn_of, self._outlets)
        self._users = Users(load_user, self._in_thread, clock)
        self._arrivals = Arrivals(self._users, self._handle, self._refuse)
        self._lookups = Lookups(me, self.peers, clock, self._forwarding.send, home.post)

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        await self.network.start()

    async def drain(self, until: float) -> None:
        """Wait, until a moment of the clock, for what was sent on and what came from others to end.

        This node's own new calls are refused meanwhile; one that was accepted before and has bounced is sent again.
        """
        self._draining = True
        while (len(self._forwarding) or len(self._incoming) or len(self._lookups)) and self._clock.monotonic() < until:
            await asyncio.sleep(DRAIN_STEP)

    async def stop(self, linger: float = 1.0) -> None:
        """Leave the links. Others get what was answered, within `linger` seconds. Again: does nothing."""
        if self._stopped or self._pid != os.getpid():
            return
        self._stopped = True
        self._lookups.stop()
        self._forwarding.stop()
        self.peers.stop()
        self._mirrors.stop()
        self._outlets.flush()
        self._arrivals.stop()
        if not len(self._incoming):  # else what others have open here may still run
            for peer in {*self.network.peers, *self.peers.living()}:
                self._postbox.post(peer, encode(Leaving()))
        await self.network.stop(linger)
        self._postbox.stop()
        if self._thread is not None:
            self._thread.submit(self._close_thread)
            with contextlib.suppress(TimeoutError):  # a database that hangs must not hold up the end
                await asyncio.wait_for(asyncio.to_thread(self._thread.shutdown), LOOK_PATIENCE)

    # What the node asks

    def takes(self, call: Call) -> bool:
        """Send a call to the node that has its actor, if one is known. False: the store must be asked."""
        if self._stopped or call.finishes:
            return False
        address = call.address
        if isinstance(call, Foreign):
            if address not in self._lookups and not self._forwarding.busy(address):
                return False
            call.bounce(None)  # calls of this node's own are on their way, and must not be overtaken
            return True
        if address in self._lookups:
            self._lookups.join(call)
            return True
        owner = self._forwarding.owner_of(address)
        if owner is None:
            return False
        if self._draining and not call.hops:
            call.reject(Unavailable("This process is stopping.", retry_after=1.0))
        else:
            self._forwarding.send(call, owner)
        return True

    def send(self, calls: list[Call], owner: int) -> None:
        """Send calls, in order, to the process whose incarnation owns their actor's row."""
        for call in calls:
            if isinstance(call, Foreign):
                call.bounce(owner)
            elif call.finishes or self._stopped:
                call.reject(Unavailable(f"{call.address} is in the memory of another live process.", retry_after=1.0))
            else:
                self._lookups.send(call, owner)

    def cancel(self, call: Call) -> bool:
        """Take back a call that was sent. False: it wasn't."""
        return self._forwarding.cancel(call)

    def unsubscribe(self, address: Address, subscriber: str, user: Any) -> None:
        """Forget a subscriber here of a stream there."""
        source = self._mirrors.leave(address, subscriber)
        if source is not None:
            self._reply(source, encode(Unfollow(*address, subscriber, user_key(user))))

    def announce(self, change: AccessChange) -> None:
        """Tell every other node, as soon as it is known who is there."""
        self._users.forget(change.user)
        data = encode(change)

        def tell() -> None:
            for peer in self.peers.living():
                self._postbox.post(peer, data)

        if not self._stopped:
            self.peers.refresh(tell)

    async def company(self) -> bool:
        """Whether another node is alive that can take actors over."""
        if self._stopped:
            return False
        looked = asyncio.Event()
        self.peers.refresh(looked.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(looked.wait(), LOOK_PATIENCE)
        return bool(self._staying())

    def _staying(self) -> list[int]:
        return sorted(self.peers.living().keys() - self._lookups.leaving)

    def hand_on(self, calls: list[Call]) -> None:
        """This node is stopping and has given the row back: let another one run them."""
        living = self._staying()
        for call in calls:
            if isinstance(call, Foreign):
                call.bounce(None)
            elif not living or call.finishes or self._stopped or (self._draining and not call.hops):
                call.reject(Unavailable("This process is stopping.", retry_after=1.0))
            else:
                self._forwarding.send(call, living[hash(call.address) % len(living)])

    # What others send

    def _on_frame(self, sender: int, data: bytes) -> None:
        try:
            frame = decode(data)
        except msgspec.MsgspecError:
            logger.warning("Node %s says something that this version doesn't know.", sender)
            return
        self._arrivals.take(sender, frame)

    def _refuse(self, sender: int, frame: Frame) -> None:
        if isinstance(frame, (Remote, Follow)):
            call = frame.call if isinstance(frame, Follow) else frame
            self._incoming.refuse(sender, call.id, Unavailable("The call's user can't be loaded.", retry_after=1.0))

    def _handle(self, sender: int, frame: Frame, user: Any) -> None:
        if isinstance(frame, (Answer, Failure)):
            self._forwarding.ended(sender, frame)
        elif isinstance(frame, (Remote, Follow)):
            if not self._stopped:  # else the sender was told, and sends it another way
                self._incoming.run(sender, frame, user)
        elif isinstance(frame, Streamed):
            if not self._mirrors.receive(sender, frame):
                self._reply(sender, encode(Unfollow(frame.actor, frame.key, "", None)))
        elif isinstance(frame, Ended):
            self._mirrors.ended(sender, frame)
        elif isinstance(frame, Bounce):
            self._forwarding.bounced(frame)
        elif isinstance(frame, Cancel):
            self._incoming.cancel(sender, frame)
        elif isinstance(frame, AccessChange):
            self._users.forget(frame.user)
            self._on_access(frame)
        elif isinstance(frame, Leaving):
            self._lookups.leaving.add(sender)
            self._forwarding.left(sender)
            self._mirrors.died(sender)
        else:
            self._unfollowed(sender, frame, user)

    def _reply(self, peer: int, frame: bytes) -> None:
        self._outlets.flush()
        self._postbox.post(peer, frame)

    # Streams

    def _joined(self, call: Subscription, source: int) -> None:
        self._mirrors.join(call.address, source, call.subscriber)

    def _unfollowed(self, peer: int, frame: Unfollow, user: Any) -> None:
        outlet = self._outlets.find(peer, Address(frame.actor, frame.key))
        if outlet is None:
            return
        if not frame.subscriber:  # the node is told that it ends, should somebody have joined there meanwhile
            self._leave_all(outlet)
            self._outlets.end(outlet, "nobody")
        elif outlet.sessions.pop(frame.subscriber, None) is not None or not outlet.sessions:
            if not outlet.sessions:
                self._outlets.forget(outlet)
            self._home.follower_left(outlet.address, "" if outlet.sessions else outlet.id, frame.subscriber, user)

    def _leave_all(self, outlet: Outlet) -> None:
        for subscriber, user in outlet.sessions.items():
            self._home.follower_left(outlet.address, outlet.id, subscriber, user)

    def _drop(self, outlet: Outlet) -> None:
        self._leave_all(outlet)

    # Deaths

    def _died(self, network: int) -> None:
        logger.info("Node %s is gone.", network, extra={"action": "peer_gone", "incarnation": network})
        unsent = _calls_in(self.network.unsent(network))
        self._lookups.leaving.discard(network)
        self.network.forget(network)
        self._postbox.died(network)
        self._arrivals.died(network)
        self._incoming.died(network)
        for outlet in self._outlets.died(network):
            self._leave_all(outlet)
        self._forwarding.died(network, unsent)
        self._mirrors.died(network)

    def _in_thread(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        if self._thread is None:
            self._thread = concurrent.futures.ThreadPoolExecutor(1, "lightmoon-peers")
        return asyncio.get_running_loop().run_in_executor(self._thread, job)


def _calls_in(frames: list[bytes]) -> set[int]:
    """The numbers of the calls among frames of this node's."""
    found = [decode(frame) for frame in frames]
    calls = [frame.call if isinstance(frame, Follow) else frame for frame in found]
    return {call.id for call in calls if isinstance(call, Remote)}
