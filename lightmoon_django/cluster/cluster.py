"""The actors of other nodes, and what other nodes want of the actors here. Implements `runtime.node.Elsewhere`.

One cluster is one network id. A process whose lease has ended, and which others hold for dead, gets another.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from lightmoon_django.actor.call import Call, Subscription
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.arrivals import Arrivals
from lightmoon_django.cluster.balance import Balance, Removals
from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.dispatch import Dispatch, Rows
from lightmoon_django.cluster.forwarding import Forwarding
from lightmoon_django.cluster.incoming import Incoming
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.peers import PERIOD, Peers, Query
from lightmoon_django.cluster.placement import Placement
from lightmoon_django.cluster.postbox import Postbox
from lightmoon_django.cluster.route import Carrier
from lightmoon_django.cluster.streaming import Home as Streams
from lightmoon_django.cluster.streaming import Streaming
from lightmoon_django.cluster.users import Users
from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import (
    AccessChange,
    Answer,
    Aside,
    Bounce,
    Cancel,
    Described,
    Draining,
    Due,
    Ended,
    Failure,
    Follow,
    Frame,
    Hello,
    Lag,
    Leaving,
    Moving,
    Positions,
    Remote,
    Streamed,
    decode,
    encode,
)

logger = logging.getLogger("lightmoon")

MOVING = 10_000  # actors in one frame
DRAIN_STEP = 0.005  # seconds between two looks at whether everything has ended
LOOK_PATIENCE = 2.0  # seconds that a stopping node waits to hear who else is alive


class Home(Rows, Removals, Streams, Protocol):
    """The actors of this node. Implemented by `runtime.node`."""

    @property
    def load(self) -> int:
        """How many there are."""

    def cancel(self, call: Call) -> None: ...

    def expect(self, addresses: list[Address]) -> None:
        """What another node announces by `announce_moving`."""

    def claim_due(self) -> None:
        """Reminders are due whose actors are here."""

    def share(self) -> None:
        """Other processes are there: let them have actors in memory only, too."""


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
        layer: LayerCarrier | None,
        query: Query,
        load_user: Callable[[str], Any],
        close_thread: Callable[[], None],
        roles: frozenset[str] = frozenset(),
        on_access: Callable[[AccessChange], None] = lambda change: None,
    ) -> None:
        """`query` as for `Peers`, `load_user` as for `Users`; `close_thread` is called when their thread ends.

        `layer` is the one of the carriers that casts can go by. `on_access` hears of what others announce.
        """
        self.me = me
        self._home = home
        self._clock = clock
        self._pid = os.getpid()
        self._started = self._stopped = False
        self._close_thread = close_thread
        self._on_access = on_access
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None
        self.peers = Peers(me, clock, query, self._in_thread, self._died)
        self.placement = Placement(
            me, roles, living=self.peers.living, looked=lambda: self.peers.looked, load=lambda: home.load
        )
        self._balance = Balance(self.placement, home)
        self.peers.on_look = self._looked
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
        self._streaming = Streaming(me, home, clock, self.network, self._postbox, layer)
        self._forwarding = Forwarding(me, self._postbox, clock, home.post, self._joined, self._streaming.grouped)
        self._incoming = Incoming(
            *(me, clock, self._reply, home.post, home.cancel),
            turn_of=self._forwarding.turns.get,
            outlets=self._streaming.outlets,
            crowded=self._postbox.crowded,
        )
        self._users = Users(load_user, self._in_thread, clock)
        self._arrivals = Arrivals(self._users, clock, self._handle, self._incoming.refuse)
        self._dispatch = Dispatch(
            me, rows=home, peers=self.peers, placement=self.placement, forwarding=self._forwarding, clock=clock
        )
        self._lookups = self._dispatch.lookups
        self.takes = self._dispatch.takes  # bound once, as are the next two: each call comes by here
        self._end = self._forwarding.ended
        self._outlets = self._streaming.outlets

    async def start(self) -> None:
        """Listen, and let the others know. Raises `OSError`."""
        await self.network.start()
        self._started = True
        self.look()

    def look(self) -> None:
        """See who else is there, and let them know of this node: again, until all databases have answered.

        `start` does so first.
        """
        if self._started:
            self.peers.refresh(self._greet)

    def _greet(self) -> None:
        if self.placement.hosting and not self._stopped:
            for peer in self.peers.living():
                self._postbox.post(peer, encode(Hello()))
        if not self.peers.whole:  # others may be there that looked before this node was, and look no more
            self._clock.call_at(self._clock.monotonic() + PERIOD, self.look)

    def _looked(self) -> None:
        """There are others, as ever or for the first time."""
        self._home.share()
        self._balance.look()

    @property
    def hosting(self) -> bool:
        """Whether this node takes actors at all."""
        return self.placement.hosting

    async def drain(self, until: float) -> None:
        """Wait, until a moment of the clock, for what was sent on to end, and what came from others to be answered.

        This node's own new calls are refused meanwhile; one that was accepted before and has bounced is sent again.
        """
        self._dispatch.draining = True
        while self._busy and self._clock.monotonic() < until:
            await asyncio.sleep(DRAIN_STEP)

    @property
    def _busy(self) -> bool:
        under_way = len(self._forwarding) or len(self._incoming) or len(self._lookups)
        return bool(under_way) or not self._postbox.empty  # answers that wait for room are still owed

    async def stop(self, linger: float = 1.0) -> None:
        """Leave the links. Others get what was answered, within `linger` seconds. Again: does nothing."""
        if self._stopped or self._pid != os.getpid():
            return
        self._stopped = self._dispatch.stopped = self._incoming.left = True
        self._streaming.leave_off()  # answers that wait for it are let through
        self._lookups.stop()
        self._forwarding.stop()
        self.peers.stop()
        self._arrivals.stop()
        if not len(self._incoming):  # else what others have open here may still run
            for peer in {*self.network.peers, *self.peers.living()}:
                self._postbox.post(peer, encode(Leaving()))
        await self._streaming.stop()
        await self.network.stop(linger)
        self._postbox.stop()
        if self._thread is not None:
            self._thread.submit(self._close_thread)
            with contextlib.suppress(TimeoutError):  # a database that hangs must not hold up the end
                await asyncio.wait_for(asyncio.to_thread(self._thread.shutdown), LOOK_PATIENCE)

    def let_go(self) -> None:
        """The process goes on under another name: calls that did no harm yet go by that name's links. Then stop."""
        self._lookups.let_go()
        self._forwarding.let_go()

    # What the node asks

    def send(self, calls: list[Call], owner: int) -> None:
        """Send calls, in order, to the process whose incarnation owns their actor's row."""
        self._dispatch.send(calls, owner)

    def give(self, schema: ActorSchema, key: str, calls: list[Call], target: int | None) -> None:
        """This node has given an actor's row back: let `target` have it, or whoever is chosen."""
        self._dispatch.give(schema, key, calls, target)

    def hand_on(self, calls: list[Call]) -> None:
        """This node is stopping and has given the row back: let another one run them."""
        self._dispatch.hand_on(calls)

    def cancel(self, call: Call) -> bool:
        """Take back a call that was sent. False: it wasn't."""
        return self._forwarding.cancel(call)

    def unsubscribe(self, address: Address, subscriber: str, user: Any) -> None:
        """Forget a subscriber here of a stream there."""
        self._streaming.leave(address, subscriber, user)

    def describe(self, address: Address, subscriber: str, meta: Mapping[str, Any]) -> None:
        """A subscriber here of a stream there says something else of itself."""
        self._streaming.describe(address, subscriber, meta)

    def tell_due(self, node: int) -> None:
        """Tell that node that reminders are due whose actors it has."""
        self._postbox.post(node, encode(Due()))

    def announce(self, change: AccessChange) -> None:
        """Tell every other node, as soon as it is known who is there."""
        self._users.forget(change.user)
        data = encode(change)

        def tell() -> None:
            for peer in self.peers.living():
                self._postbox.post(peer, data)

        if not self._stopped:
            self.peers.refresh(tell)

    def announce_moving(self, addresses: list[Address]) -> None:
        """Tell every other node that what these actors remember of repeated calls will follow them."""
        for start in range(0, len(addresses), MOVING):
            data = encode(Moving(tuple(addresses[start : start + MOVING])))
            for peer in self.peers.living():
                self._postbox.post(peer, data)

    async def company(self) -> bool:
        """Whether another node is alive that can take actors over. If so, this one takes no more from now on.

        If not, the calls that had come by then are on their way to their actors here.
        """
        if self._stopped:
            return False
        until = self._clock.monotonic() + LOOK_PATIENCE
        looked = asyncio.Event()
        self.peers.refresh(looked.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(looked.wait(), LOOK_PATIENCE)
        self.placement.draining = bool(self.placement.others())
        if self.placement.draining:
            for peer in self.peers.living():
                self._postbox.post(peer, encode(Draining()))
        while len(self._lookups) and not self.placement.draining and self._clock.monotonic() < until:
            await asyncio.sleep(DRAIN_STEP)
        return self.placement.draining

    # What others send

    def _on_frame(self, sender: int, data: bytes) -> None:
        try:
            frame = decode(data)
        except msgspec.MsgspecError:
            logger.warning("Node %s says something that this version doesn't know.", sender)
            return
        if type(frame) is Answer and frame.position is None:  # most are so, or as the next ones
            self._end(sender, frame)
        elif type(frame) is Remote and frame.user is None and not self._arrivals.held:
            self._run(sender, frame, None)
        else:
            self._arrivals.take(sender, frame)

    def _handle(self, sender: int, frame: Frame, user: Any) -> None:
        if isinstance(frame, (Answer, Failure)):
            self._ended(sender, frame)
        elif isinstance(frame, (Remote, Follow)):
            self._run(sender, frame, user)
        elif isinstance(frame, Streamed):
            self._streaming.streamed(sender, frame)
        elif isinstance(frame, Aside):
            self._streaming.aside(sender, frame)
        elif isinstance(frame, Positions):
            self._streaming.told(sender, frame)
        elif isinstance(frame, Lag):
            self._streaming.lagging(sender, frame)
        elif isinstance(frame, Ended):
            self._streaming.stream_ended(sender, frame)
        elif isinstance(frame, Described):
            self._streaming.described(frame)
        elif isinstance(frame, Bounce):
            self._forwarding.bounced(frame)
        elif isinstance(frame, Cancel):
            self._incoming.cancel(sender, frame)
        elif isinstance(frame, AccessChange):
            self._users.forget(frame.user)
            self._on_access(frame)
        elif isinstance(frame, Moving):
            self._home.expect([Address(*one) for one in frame.actors])
        elif isinstance(frame, Due):
            self._home.claim_due()
        elif isinstance(frame, Hello):
            self.peers.refresh()
        elif isinstance(frame, Draining):
            self.placement.closing.add(sender)
        elif isinstance(frame, Leaving):
            self.placement.closing.add(sender)
            self._lookups.leaving.add(sender)
            self._streaming.mirrors.died(sender)  # first, so that answers which wait for a stream count as such
            self._forwarding.left(sender)
        else:
            self._streaming.unfollowed(sender, frame, user)

    def _run(self, sender: int, frame: Remote | Follow, user: Any) -> None:
        if not self._stopped:  # else the sender was told, and sends it another way
            self._incoming.run(sender, frame, user)

    def _ended(self, sender: int, frame: Answer | Failure) -> None:
        """End a call, when those who follow its actor here have what it stands behind."""
        if frame.position is None or (address := self._forwarding.address_of(frame.id)) is None:
            self._end(sender, frame)
        else:
            then = functools.partial(self._end, sender, frame)
            self._streaming.after(sender, address, Position(*frame.position), then)

    def _reply(self, peer: int, frame: bytes) -> None:
        if self._outlets.waiting:
            self._outlets.flush()
        self._postbox.post(peer, frame)

    def _joined(self, call: Subscription, source: int, position: Position) -> None:
        self._streaming.joined(call.address, source, position, call.subscriber)

    # Deaths

    def _died(self, network: int, known: bool) -> None:
        logger.info("Node %s is gone.", network, extra={"action": "peer_gone", "incarnation": network})
        unsent = _calls_in(self.network.unsent(network))
        self._lookups.leaving.discard(network)
        self.placement.forget(network)
        self.network.forget(network, for_good=known)
        self._postbox.died(network)
        self._arrivals.died(network)
        self._incoming.died(network)
        self._streaming.died(network)
        self._forwarding.died(network, unsent)

    def _in_thread(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        if self._thread is None:
            self._thread = concurrent.futures.ThreadPoolExecutor(1, "lightmoon-peers")
        return asyncio.get_running_loop().run_in_executor(self._thread, job)


def _calls_in(frames: list[bytes]) -> set[int]:
    """The numbers of the calls among frames of this node's."""
    found = [decode(frame) for frame in frames]
    calls = [frame.call if isinstance(frame, Follow) else frame for frame in found]
    return {call.id for call in calls if isinstance(call, Remote)}
