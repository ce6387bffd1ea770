"""One message for all nodes that follow something: a Channels group whose members are nodes, never clients.

A cast may get lost (channels_redis skips full members without a word), so what travels this way carries numbers of its
own by which a gap is seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable

from lightmoon_django.cluster.carriers.layer import CAST
from lightmoon_django.cluster.inbox import ChannelLayer
from lightmoon_django.cluster.sendwindow import FrameTooLarge
from lightmoon_django.cluster.traffic import Traffic
from lightmoon_django.cluster.wire import MAX_PACKET, Cast, Refused, Wire

logger = logging.getLogger("lightmoon")

LARGEST = MAX_PACKET - 1024  # bytes of a cast
PATIENCE = 3.0  # seconds until a layer that doesn't answer has failed
RETRY = 1.0  # seconds until a membership that could not be renewed is tried again
REFRESHES = 4  # per expiry: some may fail
LONGEST_REFRESH = 60.0  # seconds; a Redis that was flushed has forgotten who is a member


def group_name(group: str) -> str:
    """The layer's name for it: any text will do, where a layer allows a hundred characters of few kinds."""
    return f"lightmoon.group.{hashlib.sha256(group.encode()).hexdigest()[:40]}"


class Groups:
    """The groups that this node is in, and casts to any. On the event loop."""

    def __init__(
        self,
        incarnation: int,
        wire: Wire,
        on_cast: Callable[[int, str, bytes], None],
        *,
        traffic: Traffic,
        layer: ChannelLayer,
        channel: str,
        group_expiry: float = 86_400.0,
    ) -> None:
        """`on_cast(sender, group, data)` gets what arrives in `channel`, this node's own casts excepted."""
        self._incarnation = incarnation
        self._wire = wire
        self._on_cast = on_cast
        self._traffic = traffic
        self._layer = layer
        self._channel = channel
        self._every = min(LONGEST_REFRESH, group_expiry / REFRESHES)
        self._joined: dict[str, str] = {}  # from the layer's names to the caller's
        self._refreshing: asyncio.Task[None] | None = None

    async def join(self, group: str) -> None:
        """Be a member from now on, until `leave`. Raises what the layer raises; it is tried again all the same."""
        self._joined[group_name(group)] = group
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())
        await self._add(group)

    async def _add(self, group: str) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._layer.group_add(group_name(group), self._channel)

    async def leave(self, group: str) -> None:
        """Be a member no more. Casts that are on their way no longer reach `on_cast`."""
        self._joined.pop(group_name(group), None)
        await self._discard(group)

    async def _discard(self, group: str) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._layer.group_discard(group_name(group), self._channel)

    async def send(self, group: str, data: bytes) -> None:
        """Cast once to the group. Raises `FrameTooLarge`, and what the layer raises."""
        if len(data) > LARGEST:
            raise FrameTooLarge(f"A cast of {len(data)} bytes is over the limit of {LARGEST}.")
        name = group_name(group)
        packet = self._wire.seal(Cast(self._incarnation, name, data))
        self._traffic.casts_sent += 1
        await self._layer.group_send(name, {"type": CAST, "data": packet})

    def receive(self, packet: object) -> None:
        """Take a packet from the layer. Never raises."""
        try:
            cast = self._wire.open_cast(packet)
        except Refused as refused:
            self._traffic.drop(refused.reason, "cast")
            return
        group = self._joined.get(cast.group)
        if cast.sender == self._incarnation or group is None:
            return
        self._traffic.casts_received += 1
        try:
            self._on_cast(cast.sender, group, cast.data)
        except Exception:
            logger.exception("Handling a cast failed.", extra={"action": "cast_failed", "group": group})

    async def stop(self) -> None:
        """Leave everything, as far as the layer lets it."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        for group in list(self._joined.values()):
            try:
                await self.leave(group)
            except Exception:
                logger.debug("A group could not be left; its membership will expire.", exc_info=True)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(self._every * random.uniform(0.8, 1.0))
            for group in list(self._joined.values()):
                try:
                    await self._renew(group)
                except Exception as error:
                    logger.warning(
                        "A group membership could not be renewed; trying again. %s",
                        error,
                        extra={"action": "group_refresh_failed", "group": group},
                    )
                    await asyncio.sleep(RETRY)
                    break

    async def _renew(self, group: str) -> None:
        """Be a member still, unless the group is left meanwhile."""
        name = group_name(group)
        if name not in self._joined:
            return
        await self._add(group)
        if name not in self._joined:  # which of the two came last, nobody knows
            await self._discard(group)
            if name in self._joined:
                await self._add(group)
