"""A channel layer as a datagram network: one channel per node, which that node alone reads.

Channels promises at most once, drops over capacity and orders by the sender's clock; the links above make that good.
`ChannelFull` is no loss but back-pressure: the packet is kept and tried again, and meanwhile the link holds the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from lightmoon_django.cluster.inbox import ChannelLayer, Inbox
from lightmoon_django.cluster.route import Changed, Receiver
from lightmoon_django.identity import Endpoint

logger = logging.getLogger("lightmoon")

BATCH = "lightmoon.batch"  # types of messages
CAST = "lightmoon.cast"

LIMIT = 256 * 1024  # bytes of a packet
PATIENCE = 0.1  # seconds
AT_ONCE = 2  # packets to one peer: the next leaves while the last one's answers come back; more of them reorder more
ALL_AT_ONCE = 16  # packets to all peers: redis-py's pool has 100 connections, and consumers need some too
SEND_PATIENCE = 3.0  # seconds until a layer that doesn't answer has failed
RETRY_FIRST = 0.01  # seconds, doubling
RETRY_LONGEST = 1.0  # seconds


def channel_name(incarnation: int) -> str:
    return f"lightmoon.node.{incarnation}"


def _ignore(packet: object) -> None:
    """Casts, when nobody has asked for them."""


class LayerCarrier:
    """Implements `route.Carrier`."""

    name = "layer"

    def __init__(
        self, incarnation: int, layer: ChannelLayer, *, full: type[Exception], group_expiry: float = 86_400.0
    ) -> None:
        """`full` is what the layer raises over capacity, `group_expiry` the seconds that it remembers a member."""
        self.channel = channel_name(incarnation)
        self.layer = layer
        self.group_expiry = group_expiry
        self.on_cast: Callable[[object], None] = _ignore  # gets the packets of `groups.Groups`
        self._full = full
        self._sends = asyncio.Semaphore(ALL_AT_ONCE)
        self._inbox: Inbox | None = None
        self._failing = False
        self.sending: set[asyncio.Task[None]] = set()

    async def start(self, receiver: Receiver) -> None:
        self._inbox = Inbox(self.layer, self.channel, {BATCH: receiver.receive, CAST: self._cast})
        self._inbox.start()

    async def stop(self) -> None:
        """What is being sent may still leave, acknowledgements above all."""
        if self._inbox is not None:
            await self._inbox.stop()
        if self.sending:
            _, late = await asyncio.wait(self.sending, timeout=SEND_PATIENCE)
            for task in late:
                task.cancel()
            if late:  # or what they have of a Redis is not given back
                await asyncio.wait(late, timeout=SEND_PATIENCE)
        if (give_back := getattr(self.layer, "give_back", None)) is not None:  # the quick way keeps connections
            await give_back()

    def _cast(self, packet: object) -> None:
        self.on_cast(packet)

    def open(self, endpoint: Endpoint, changed: Changed) -> LayerPath | None:
        return LayerPath(self, endpoint.channel, changed) if endpoint.channel else None

    async def carry(self, channel: str, packet: bytes) -> bool:
        """Send one packet. False: the channel is full, or the layer failed; it should be tried again."""
        try:
            async with self._sends, asyncio.timeout(SEND_PATIENCE):
                await self.layer.send(channel, {"type": BATCH, "data": packet})
        except self._full:
            return False
        except Exception as error:
            if not self._failing:
                logger.warning(
                    "Sending through the channel layer failed; trying again. %s: %s",
                    type(error).__name__,
                    error,
                    extra={"action": "layer_send_failed"},
                )
            self._failing = True
            return False
        self._failing = False
        return True


class LayerPath:
    """Implements `route.CarrierPath`."""

    limit = LIMIT
    patience = PATIENCE
    private = False
    prompt = False  # a packet is a task and a round trip to Redis
    alive = True  # whether anybody reads there, a layer can't tell

    def __init__(self, carrier: LayerCarrier, channel: str, changed: Changed) -> None:
        self._carrier = carrier
        self._channel = channel
        self._changed = changed
        self._busy = 0
        self._closed = False

    @property
    def ready(self) -> bool:
        return self._busy < AT_ONCE and not self._closed

    def send(self, packet: bytes) -> None:
        self._busy += 1
        task = asyncio.get_running_loop().create_task(self._carry(packet))
        self._carrier.sending.add(task)
        task.add_done_callback(self._done)

    def close(self) -> None:
        self._closed = True

    async def _carry(self, packet: bytes) -> None:
        wait = RETRY_FIRST
        while not await self._carrier.carry(self._channel, packet) and not self._closed:
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, RETRY_LONGEST)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._busy -= 1
        self._carrier.sending.discard(task)
        if not self._closed:
            self._changed(False)
