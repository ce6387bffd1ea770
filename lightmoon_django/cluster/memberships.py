"""The groups that this node is in, kept up with the streams that it follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from lightmoon_django.cluster.groups import Groups
from lightmoon_django.identity import Address

logger = logging.getLogger("lightmoon")

RETRY = 1.0  # seconds until a layer that failed is asked again


class Memberships:
    """Nodes are members of groups, never clients. Joining takes a moment, one step at a time per group."""

    def __init__(self, groups: Groups, joined: Callable[[Address], None]) -> None:
        """`joined(address)` is called when casts reach this node, also when that was only made sure of."""
        self._groups = groups
        self._joined = joined
        self._wanted: set[Address] = set()
        self._due: set[Address] = set()
        self._tasks: dict[Address, asyncio.Task[None]] = {}

    def want(self, address: Address) -> None:
        """Be a member from now on, and make sure of it: a Redis that was flushed has forgotten who is one."""
        self._wanted.add(address)
        self._hurry(address)

    def unwant(self, address: Address) -> None:
        if address in self._wanted:
            self._wanted.discard(address)
            self._hurry(address)

    async def stop(self) -> None:
        """Leave everything, as far as the layer lets it."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()))
        await self._groups.stop()

    def _hurry(self, address: Address) -> None:
        self._due.add(address)
        if address not in self._tasks:
            self._tasks[address] = asyncio.get_running_loop().create_task(self._settle_all(address))

    async def _settle_all(self, address: Address) -> None:
        try:
            await self._settle(address)
        finally:
            self._tasks.pop(address, None)  # here: until a callback of the task's, what is wanted next would be lost

    async def _settle(self, address: Address) -> None:
        while address in self._due:
            self._due.discard(address)
            wanted = address in self._wanted
            try:
                await (self._groups.join if wanted else self._groups.leave)(str(address))
            except Exception as error:
                logger.debug("The group of %s can't be %s now: %s", address, "joined" if wanted else "left", error)
                await asyncio.sleep(RETRY)
                self._due.add(address)
            else:
                if wanted and address in self._wanted:
                    self._joined(address)
