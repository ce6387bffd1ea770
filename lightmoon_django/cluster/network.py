"""All links of this node, and the carriers under them."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lightmoon_django.clock import Clock, SystemClock
from lightmoon_django.cluster import forks
from lightmoon_django.cluster.link import Link, LinkClosed
from lightmoon_django.cluster.route import Carrier, Route
from lightmoon_django.cluster.traffic import Traffic
from lightmoon_django.cluster.wire import MALFORMED, Batch, Refused, Wire
from lightmoon_django.identity import Endpoint

logger = logging.getLogger("lightmoon")

LOOK_AGAIN = 0.05  # seconds until an unknown node is looked up again, doubling
LOOK_AGAIN_LONGEST = 2.0  # seconds
REMEMBERED = 10_000  # dead incarnations, so that what is still on its way from one opens no link to it
LINGER_STEP = 0.005  # seconds between two looks at whether everything has arrived, while stopping


class State(enum.Enum):
    """Where a network is in its life."""

    NEW = "nothing is open"
    RUNNING = "frames come and go"
    STOPPED = "for good: another start is another incarnation's network"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A network at one moment."""

    links: int
    held: int  # bytes that were accepted and are not acknowledged
    carriers: Mapping[str, int]  # how many links go by which carrier; "" for those that have no way now
    traffic: Traffic


class Network:
    """This incarnation's links to all others. Everything is called on the event loop that called `start`.

    A forked child has no part in it: there `send` raises, and `stop` and `forget` do nothing.
    """

    def __init__(
        self,
        incarnation: int,
        *,
        secrets: Sequence[str | bytes],
        carriers: Sequence[Carrier],
        lookup: Callable[[int], Endpoint | None],
        on_frame: Callable[[int, bytes], None],
        on_lost: Callable[[int, list[bytes]], None] | None = None,
        on_trouble: Callable[[], None] | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`carriers`: the preferred ones first. `lookup` must not block; None means not known yet: it is asked again.

        `on_frame(sender, frame)` is called in order, once per frame; what it raises is logged. `on_lost(peer, frames)`
        gets what may or may not have arrived when a peer's network was started again under the same incarnation.
        `on_trouble` is called when a way to a peer has broken, and no other is left.
        """
        self.incarnation = incarnation
        self.traffic = Traffic()
        self.wire = Wire(secrets)
        self._carriers = list(carriers)
        self._lookup = lookup
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_trouble = on_trouble
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._links: dict[int, Link] = {}
        self._routes: dict[int, Route] = {}
        self._dead: dict[int, None] = {}  # in the order of their deaths
        self._state = State.NEW
        self._forks = -1
        self._call_soon: Callable[[Callable[[], None]], object]

    async def start(self) -> None:
        """Open the carriers. Raises `OSError` when one can't be; then none is open. Again: does nothing."""
        if self._state is State.RUNNING and self._forks == forks.count:
            return
        if self._state is not State.NEW:
            raise RuntimeError("A network is started once. Another start needs another incarnation.")
        self._forks = forks.count
        self._call_soon = asyncio.get_running_loop().call_soon
        self._state = State.RUNNING
        for position, carrier in enumerate(self._carriers):
            try:
                await carrier.start(self)
            except BaseException:
                self._state = State.STOPPED
                for opened in self._carriers[:position]:
                    await opened.stop()
                raise

    async def stop(self, linger: float = 0.0) -> dict[int, list[bytes]]:
        """Close everything, and return what may not have arrived, by peer. Again: does nothing.

        Waits up to `linger` seconds for the peers to acknowledge what was sent to them, and always acknowledges what
        has arrived here.
        """
        if self._state is not State.RUNNING or self._forks != forks.count:
            return {}
        await self._settle(linger)
        self._state = State.STOPPED
        undelivered = {peer: frames for peer, link in self._links.items() if (frames := link.close())}
        self._links.clear()
        self._routes.clear()
        for carrier in self._carriers:
            await carrier.stop()
        return undelivered

    def send(self, incarnation: int, frame: bytes) -> None:
        """Let a frame leave at the end of this pass of the loop.

        Raises `LinkFull` when too much is waiting for that node, `FrameTooLarge`, and `LinkClosed` when the node is
        forgotten or this network is not running. Otherwise the frame arrives, or `forget`, `stop` or `on_lost` give it
        back.
        """
        link = self._links.get(incarnation)
        if link is None or self._forks != forks.count:
            link = self._open(incarnation)
        link.send(frame)

    def forget(self, incarnation: int, *, for_good: bool = True) -> list[bytes]:
        """That node is dead. Returns the frames to it that may not have arrived, in order.

        Unless it is `for_good`, what comes from there opens another link.
        """
        if self._forks != forks.count:
            return []
        if for_good:
            self._dead[incarnation] = None
        while len(self._dead) > REMEMBERED:
            del self._dead[next(iter(self._dead))]
        self._routes.pop(incarnation, None)
        link = self._links.pop(incarnation, None)
        return link.close() if link else []

    def carrier_to(self, incarnation: int) -> str:
        """The name of the carrier by which frames go there now; empty when none leads there. Raises `LinkClosed`."""
        if incarnation not in self._links:
            self._open(incarnation)
        return self._routes[incarnation].carrier

    @property
    def peers(self) -> list[int]:
        """To whom there are links."""
        return list(self._links)

    def unsent(self, incarnation: int) -> list[bytes]:
        """The frames to that node that never left; asked before `forget`, as those didn't arrive for certain."""
        link = self._links.get(incarnation)
        return link.unsent() if link is not None else []

    def stats(self) -> Stats:
        """What goes on now."""
        carriers: dict[str, int] = {}
        for route in self._routes.values():
            carriers[route.carrier] = carriers.get(route.carrier, 0) + 1
        held = sum(link.held for link in self._links.values())
        traffic = dataclasses.replace(self.traffic, dropped=self.traffic.dropped.copy())
        return Stats(links=len(self._links), held=held, carriers=carriers, traffic=traffic)

    def receive(self, packet: object) -> None:
        """Take a packet from a carrier. What is not for this node from a living one is counted and dropped."""
        try:
            batch = self.wire.open_batch(packet)
        except Refused as refused:
            self.traffic.drop(refused.reason)
        else:
            self._take(batch)

    def receive_private(self, packet: bytes) -> None:
        """Likewise, of a connection whose opener has proved itself."""
        try:
            batch = self.wire.decode(packet)
        except MALFORMED:
            self.traffic.drop("malformed")
            return
        link = self._links.get(batch.sender)
        if link is not None and batch.receiver == self.incarnation and self._state is State.RUNNING:  # nearly always
            self.traffic.batches_received += 1
            link.receive(batch)
        else:
            self._take(batch)

    def proof(self, challenge: bytes, place: str) -> bytes:
        """What proves this node to who listens at that place."""
        return self.wire.proof(challenge, place)

    def proves(self, proof: bytes, challenge: bytes, place: str) -> bool:
        """Whether that is a node of ours. If not, it is counted."""
        if self.wire.proves(proof, challenge, place):
            return True
        self.traffic.drop("forged", "connection")
        return False

    def _take(self, batch: Batch) -> None:
        if self._state is not State.RUNNING:
            return
        if batch.receiver != self.incarnation:
            self.traffic.drop("misdirected", batch.receiver)
        elif batch.sender in self._dead or batch.sender == self.incarnation:
            self.traffic.drop("from the dead", batch.sender)
        else:
            self.traffic.batches_received += 1
            (self._links.get(batch.sender) or self._open(batch.sender)).receive(batch)

    def _open(self, incarnation: int) -> Link:
        if self._state is not State.RUNNING or self._forks != forks.count:
            raise LinkClosed("This process's network is not running.")
        if incarnation in self._dead or incarnation == self.incarnation:
            raise LinkClosed(f"Incarnation {incarnation} is {'dead' if incarnation in self._dead else 'this node'}.")
        route = Route()
        link = Link(
            self.incarnation,
            incarnation,
            self.wire,
            route,
            clock=self._clock,
            call_soon=self._call_soon,
            deliver=self._on_frame,
            lost=self._give_back,
            traffic=self.traffic,
            rng=self._rng,
        )
        self._links[incarnation], self._routes[incarnation] = link, route
        self._find(link, route, LOOK_AGAIN)
        return link

    def _find(self, link: Link, route: Route, again: float) -> None:
        """Look the node up, now and from time to time until there is a way to it."""
        if self._links.get(link.peer) is not link:
            return
        endpoint = self._lookup(link.peer)
        if endpoint is not None and route.lead(endpoint, self._carriers, partial(self._changed, link, route)):
            link.resume()
            return
        longer = min(2 * again, LOOK_AGAIN_LONGEST)
        self._clock.call_at(self._clock.monotonic() + again, partial(self._find, link, route, longer))

    def _changed(self, link: Link, route: Route, lost: bool) -> None:
        link.resume(lost)
        if lost and not route.carrier and self._on_trouble is not None:
            self._on_trouble()

    def _give_back(self, peer: int, frames: list[bytes]) -> None:
        logger.warning(
            "Incarnation %s started its links again; %s frames may not have arrived.",
            peer,
            len(frames),
            extra={"action": "link_restarted", "incarnation": peer},
        )
        if self._on_lost is not None:
            self._on_lost(peer, frames)

    async def _settle(self, linger: float) -> None:
        until = self._clock.monotonic() + linger
        while True:
            for link in self._links.values():
                link.acknowledge()
            await asyncio.sleep(0)  # in which they leave
            if all(link.settled for link in self._links.values()) or self._clock.monotonic() >= until:
                return
            await asyncio.sleep(LINGER_STEP)
