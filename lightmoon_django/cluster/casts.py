"""Frames of streams to groups of nodes: one message of the channel layer for all of them.

A cast may get lost, and with a Redis that was flushed all of them do until the members have joined again. So the nodes
are also told by their links, twice a second while anything moves, how far each stream has got: that is one small frame
per node for all streams together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.cluster.groups import Groups
from lightmoon_django.cluster.outlets import Outlet
from lightmoon_django.cluster.sendwindow import FrameTooLarge
from lightmoon_django.messages import Positions, Streamed, encode

logger = logging.getLogger("lightmoon")

AT_ONCE = 256 * 1024  # characters of one cast
ALL_AT_ONCE = 16  # casts: redis-py's pool has 100 connections, and others need some too
PATIENCE = 3.0  # seconds until a layer that doesn't answer has failed
TELL_EVERY = 0.5  # seconds


class Casts:
    """Implements `outlets.Caster`. One cast of a stream is on its way at a time; what comes meanwhile is the next."""

    def __init__(
        self,
        groups: Groups,
        clock: Clock,
        offer: Callable[[int, bytes], bool],
        deliver: Callable[[Outlet, Streamed], None],
    ) -> None:
        """`deliver` sends by links what is too large for a cast."""
        self._groups = groups
        self._clock = clock
        self._offer = offer
        self._deliver = deliver
        self._room = asyncio.Semaphore(ALL_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved: set[Outlet] = set()
        self._timer: Cancellable | None = None
        self._failing = False

    def send(self, outlet: Outlet) -> None:
        """Send what is pending, soon."""
        self._moved.add(outlet)
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + TELL_EVERY, self._tell)
        if not outlet.sending and outlet.pending:
            outlet.sending = True
            task = asyncio.get_running_loop().create_task(self._send(outlet))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, outlet: Outlet) -> None:
        try:
            async with self._room:
                while outlet.pending:
                    await self._cast(outlet, outlet.take(AT_ONCE))
        finally:
            outlet.sending = False

    async def _cast(self, outlet: Outlet, frames: Streamed) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._groups.send(str(outlet.address), encode(frames))
            self._failing = False
        except FrameTooLarge:
            self._deliver(outlet, frames)
        except Exception as error:  # the nodes will see what they miss
            if not self._failing:
                logger.warning("A cast failed: %s", error, extra={"action": "cast_failed"})
            self._failing = True

    def _tell(self) -> None:
        """Say how far the streams have got that moved since the last time."""
        self._timer = None
        moved, self._moved = self._moved, set()
        news: dict[int, list[Outlet]] = {}
        for outlet in moved:
            for peer in outlet.sessions:
                news.setdefault(peer, []).append(outlet)
        for peer, outlets in news.items():
            frame = Positions(tuple((*outlet.address, outlet.epoch, outlet.seq) for outlet in outlets))
            if not self._offer(peer, encode(frame)):
                self._moved.update(outlets)
        if self._moved:
            self._timer = self._clock.call_at(self._clock.monotonic() + TELL_EVERY, self._tell)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
