"""The kit: what one test has of LightMoon, and the fresh node that has it too."""

from __future__ import annotations

import time
from types import TracebackType

from lightmoon_django import testrun
from lightmoon_django.host import host
from lightmoon_django.testing.driving import NodeClock
from lightmoon_django.testing.faults import Faults
from lightmoon_django.testing.faultystore import FaultyStore
from lightmoon_django.testing.recorder import Recorder
from lightmoon_django.testing.settling import asettle, settle


class Kit:
    """Within it, nodes that start belong to this one test: no activation of another test is in them."""

    def __init__(self) -> None:
        self.events = Recorder()
        self.faults = Faults(self._now)
        self.settle = settle
        self.asettle = asettle
        self._clock: NodeClock | None = None

    @property
    def clock(self) -> NodeClock:
        """The node's time, which stands still from the first use of this on.

        If a node runs by then, its actors settle and are loaded anew when they are next called.
        """
        if self._clock is None:
            settle()
            self._clock = NodeClock(lambda: self.faults.holding)
            self._equip()
        return self._clock

    def __enter__(self) -> Kit:
        self._equip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        testrun.equip(testrun.MACHINE)
        self._stop()

    def _equip(self) -> None:
        self._stop()
        testrun.equip(
            testrun.Equipment(
                clock=self._clock,
                wrap=lambda store: FaultyStore(store, self.faults),
                observers=(self.events.observe,),
            )
        )

    @staticmethod
    def _stop() -> None:
        host.stop(grace=0.0)
        testrun.lending.discard()

    def _now(self) -> float:
        return self._clock.monotonic() if self._clock is not None else time.monotonic()
