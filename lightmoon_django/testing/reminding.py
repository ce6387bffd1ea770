"""Durable reminders while a test moves the clock: each fires at its own moment."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from typing import Any

from lightmoon_django.clock import Clock
from lightmoon_django.runtime.node import Node
from lightmoon_django.testing.stillness import until_at_rest

NEVER = float("inf")


class Reminding:
    """The reminders of a node whose clock is moved. Under a test runner a node doesn't look for them by itself."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._reminders: Any = getattr(node, "reminders", None)

    async def next_due(self) -> float:
        """When the next one is due, on the monotonic clock. Never, where that can't be told."""
        ask = getattr(self._reminders, "next_due", None)
        moment: datetime.datetime | None = await ask() if ask is not None else None
        if moment is None:
            return NEVER
        return self._clock.monotonic() + (moment - self._clock.now()).total_seconds()

    async def fire(self, stores_held: Callable[[], bool]) -> None:
        """Fire what is due. Turns that wait for a later time are left to it."""
        if self._reminders is None:
            await until_at_rest(self._node, stores_held)
            return
        firing = asyncio.ensure_future(self._reminders.fire_due(self._clock.now()))
        await asyncio.sleep(0)
        await until_at_rest(self._node, stores_held)
        if firing.done() and not stores_held():
            firing.result()  # raises what went wrong
