"""What arrives on this node's own channel, read by exactly one reader.

A receive loop of our own and not a Channels consumer: a consumer's dispatch goes through the sync thread for every
message, one at a time, and the loop that feeds it ends at the first error of the layer. This one outlives everything
that a layer may raise. Among that are time-outs in the midst of idleness: redis-py 8 gives a socket five seconds, which
is as long as channels_redis blocks in one pop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

logger = logging.getLogger("lightmoon")

RETRY_FIRST = 0.02  # seconds, doubling
RETRY_LONGEST = 1.0  # seconds
IDLE = 0.5  # seconds of waiting after which a failure is taken for a time-out of an idle connection
CANCEL_AGAIN = 0.05  # seconds


class ChannelLayer(Protocol):
    """What is used of a Channels layer."""

    async def send(self, channel: str, message: dict[str, Any]) -> None: ...

    async def receive(self, channel: str) -> dict[str, Any]: ...

    async def group_add(self, group: str, channel: str) -> None: ...

    async def group_discard(self, group: str, channel: str) -> None: ...

    async def group_send(self, group: str, message: dict[str, Any]) -> None: ...


class Inbox:
    """The one reader of one channel."""

    def __init__(self, layer: ChannelLayer, channel: str, handlers: Mapping[str, Callable[[object], None]]) -> None:
        """Each message goes to the handler of its `type`, which gets its `data` and must not raise."""
        self._layer = layer
        self._channel = channel
        self._handlers = handlers
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.failures = 0  # of the layer, in a row

    def start(self) -> None:
        """Read from now on. Raises `RuntimeError` when it reads already: two readers would each get a part."""
        if self._task is not None:
            raise RuntimeError(f"Channel {self._channel} has its reader already.")
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"lightmoon-inbox-{self._channel}")

    async def stop(self) -> None:
        """Read no more. What is in the channel then stays there until the layer forgets it."""
        if self._task is None:
            return
        self._stopped = True
        while not self._task.done():  # redis-py swallows a cancellation that comes while it connects
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CANCEL_AGAIN)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopped:
            began = loop.time()
            try:
                message = await self._layer.receive(self._channel)
            except Exception as error:
                if loop.time() - began < IDLE:
                    await self._pause(error)
                continue
            self.failures = 0
            handler = self._handlers.get(message.get("type", "")) if isinstance(message, dict) else None
            if handler is not None:
                handler(message.get("data"))

    async def _pause(self, error: Exception) -> None:
        if not self.failures:
            logger.warning(
                "Receiving from the channel layer failed; trying again. %s: %s",
                type(error).__name__,
                error,
                extra={"action": "layer_receive_failed"},
            )
        wait = min(RETRY_LONGEST, RETRY_FIRST * 2 ** min(self.failures, 10))
        self.failures += 1
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))
