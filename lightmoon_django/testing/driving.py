"""A clock that drives a node: moving it runs, on the node's own loop, whatever comes due."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import Callable

from lightmoon_django.clock import Cancellable
from lightmoon_django.host import host
from lightmoon_django.runtime.node import Node
from lightmoon_django.testing import bridge
from lightmoon_django.testing.clock import ManualClock, seconds
from lightmoon_django.testing.reminding import Reminding
from lightmoon_django.testing.stillness import Picture, picture, until_at_rest

EARLY = 0.002  # seconds that a loop's timer may be ahead of the machine's clock
LIMIT = 60.0  # real seconds that moving the clock may take
GRAIN = 1.0  # seconds between looks at reminders that do not go, as while the database is away


class NodeClock(ManualClock):
    """The time of one test's node: the machine's until `hold` is called, from then on the test's.

    A turn that waits for something else than actors, as for `asyncio.sleep`, is left waiting: that time is the loop's.
    """

    def __init__(self, stores_held: Callable[[], bool]) -> None:
        """`stores_held`: whether the test keeps the stores from answering, so that nobody should wait for them."""
        super().__init__(time.monotonic(), datetime.datetime.now(datetime.UTC))
        self._stores_held = stores_held
        self._running = True
        self._turning = threading.Lock()  # the machine's time and the test's meet here

    def hold(self) -> None:
        """Stand still from now on. May be called from any thread, and again."""
        with self._turning:
            if self._running:
                self.move(time.monotonic())
                self._running = False

    def monotonic(self) -> float:
        return time.monotonic() if self._running else super().monotonic()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) if self._running else super().now()

    def call_at(self, when: float, callback: Callable[[], object]) -> Cancellable:
        if self._running:
            asyncio.get_running_loop().call_later(max(0.0, when - self.monotonic()), self._run_due)
        return super().call_at(when, callback)

    def _run_due(self) -> None:
        """The loop's timer for one of the callbacks has ended."""
        with self._turning:
            while self._running and self.step(time.monotonic() + EARLY):
                pass

    def advance(self, by: float | datetime.timedelta) -> None:
        """Move time on by that many seconds. What comes due runs in order; the actors settle in between."""
        node, duration = host.anywhere(), seconds(by)
        bridge.run(node, lambda: self._drive(node, duration), LIMIT)

    async def aadvance(self, by: float | datetime.timedelta) -> None:
        """The same for `async def` tests."""
        node, duration = host.node or host.anywhere(), seconds(by)
        await bridge.arun(node, lambda: self._drive(node, duration))

    async def _drive(self, node: Node, duration: float) -> None:
        until, reminding = self.monotonic() + duration, Reminding(node, self)
        await until_at_rest(node, self._stores_held)
        before, due = picture(node), await reminding.next_due()
        while True:
            target = min(until, due)
            if self.step(target):
                if before or len(node.catalog):  # else nothing can be under way, and days pass in no time
                    before, moved = await self._rest(node, before)
                    due = await reminding.next_due() if moved else due
                continue
            self.move(target)
            await reminding.fire(self._stores_held)
            if target >= until:
                return
            due = max(await reminding.next_due(), target + GRAIN)

    async def _rest(self, node: Node, before: Picture) -> tuple[Picture, bool]:
        """Settle if something has moved since `before`. How it looks now, and whether it has."""
        await asyncio.sleep(0)
        moved = not node.idle or picture(node) != before
        if moved:
            await until_at_rest(node, self._stores_held)
        return picture(node), moved
