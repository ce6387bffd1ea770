"""A clock that drives a node: moving it runs, on the node's own loop, whatever comes due."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from lightmoon_django.host import host
from lightmoon_django.runtime.node import Node
from lightmoon_django.testing import bridge
from lightmoon_django.testing.clock import ManualClock, seconds
from lightmoon_django.testing.stillness import idle, until_at_rest

LIMIT = 60.0  # real seconds that moving the clock may take
REMINDER_LOOKS = 1000  # at reminders while the clock moves once; a look may ask the database


class NodeClock(ManualClock):
    """The time of one test's node. It begins at the machine's wall clock and stands still until it is moved.

    A turn that waits for something else than actors, as for `asyncio.sleep`, is left waiting: that time is the loop's.
    """

    def __init__(self, held: Callable[[], bool]) -> None:
        """`held`: whether the test keeps the stores from answering, so that nobody should wait for them."""
        super().__init__(wall=datetime.datetime.now(datetime.UTC))
        self._held = held

    def advance(self, by: float | datetime.timedelta) -> None:
        """Move time on by that many seconds. What comes due runs in order; the actors settle in between."""
        node, duration = host.anywhere(), seconds(by)
        bridge.run(node, lambda: self._drive(node, duration), LIMIT)

    async def aadvance(self, by: float | datetime.timedelta) -> None:
        """The same for `async def` tests."""
        node, duration = host.node or host.anywhere(), seconds(by)
        await bridge.arun(node, lambda: self._drive(node, duration))

    async def _drive(self, node: Node, duration: float) -> None:
        until = self.monotonic() + duration
        await until_at_rest(node, self._held)
        next_look = self.monotonic()
        while self.step(until):
            if len(node.catalog):  # else there is nothing that could be under way, and days pass in no time
                await self._rest(node)
            if self.monotonic() >= next_look:
                await self._remind(node)
                next_look = self.monotonic() + duration / REMINDER_LOOKS
        self.move(until)
        await self._remind(node)
        await until_at_rest(node, self._held)

    async def _rest(self, node: Node) -> None:
        if not idle(node):
            await until_at_rest(node, self._held)

    async def _remind(self, node: Node) -> None:
        """Fire the durable reminders that are due by now."""
        reminders = getattr(node, "reminders", None)
        if reminders is not None:
            await reminders.fire_due(self.now())
            await self._rest(node)
