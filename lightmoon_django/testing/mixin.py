"""The kit for Django's own test cases."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightmoon_django.testing.driving import NodeClock
    from lightmoon_django.testing.faults import Faults
    from lightmoon_django.testing.kit import Kit
    from lightmoon_django.testing.recorder import Recorder

LIMIT = 5.0  # seconds that settling may take


class LightMoonTestMixin(unittest.TestCase):
    """Put it before `TestCase`, `TransactionTestCase` or `LiveServerTestCase`. Each test gets a node of its own."""

    _kit: Kit

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        from lightmoon_django.testing.kit import Kit  # needs the apps, which are set up by now

        with Kit() as self._kit:
            return super().run(result)

    def settle(self, limit: float = LIMIT) -> None:
        """Block until nothing is under way. Fails after `limit` seconds, naming each busy actor."""
        self._kit.settle(limit)

    async def asettle(self, limit: float = LIMIT) -> None:
        """The same for `async def` tests."""
        await self._kit.asettle(limit)

    @property
    def clock(self) -> NodeClock:
        """The node's time, which stands still from the first use of this on."""
        return self._kit.clock

    @property
    def events(self) -> Recorder:
        """What actors have let out in this test."""
        return self._kit.events

    @property
    def faults(self) -> Faults:
        """What can be made to go wrong."""
        return self._kit.faults
