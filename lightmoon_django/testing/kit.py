"""The kit: what one test has of LightMoon, and the fresh node that has it too."""

from __future__ import annotations

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
        self._clock = NodeClock(lambda: self.faults.holding)
        self.faults = Faults(self._clock.monotonic)
        self.settle = settle
        self.asettle = asettle

    @property
    def clock(self) -> NodeClock:
        """The node's time. It stands still from the first use of this on."""
        self._clock.hold()
        return self._clock

    def __enter__(self) -> Kit:
        self._stop()
        testrun.equip(
            testrun.Equipment(
                clock=self._clock,
                wrap=lambda store: FaultyStore(store, self.faults),
                observers=(self.events.observe,),
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        testrun.equip(testrun.MACHINE)
        self._stop()

    @staticmethod
    def _stop() -> None:
        host.stop(grace=0.0)
        testrun.lending.discard()
