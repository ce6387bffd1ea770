"""Actors that act by the clock."""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from django.db import models

from lightmoon_django import actor, event, every, message
from tests.live.models import Probe


class Script:
    """What the tests let ticks do beyond counting."""

    tick: ClassVar[Any] = None

    @classmethod
    def clear(cls) -> None:
        cls.tick = None


class Beats:
    """Mixed into a model and into a plain class."""

    count: Any
    other: Any

    @every(1.0)
    async def tick(self) -> None:
        self.count += 1
        self.ticked(count=self.count)
        Probe.log.append(("tick", self.count))
        if Script.tick is not None:
            await Script.tick(self)

    @message
    async def get(self) -> int:
        return self.count

    @message
    async def hold(self, gate: str) -> int:
        Probe.log.append(("holding", gate))
        await Probe.gate(gate).wait()
        return self.count

    @message
    async def by_hand(self) -> int:
        """A tick as part of this turn."""
        await self.tick()
        return self.count

    @event
    def ticked(self, count: int) -> None:
        """It ticked."""


@actor
class Metronome(Beats, models.Model):
    count = models.IntegerField(default=0)


@actor
class Pendulum(Beats):
    """The same in memory only."""

    count: int = 0


@actor
class Comet:
    """Seen every 76 years."""

    seen: int = 0

    @every(datetime.timedelta(days=76 * 365))
    async def pass_by(self) -> None:
        self.seen += 1

    @message
    async def get(self) -> int:
        return self.seen


@actor
class Frames:
    """Sixty in a second."""

    seen: int = 0

    @every(1 / 64)  # a power of two, so that sums are exact
    async def frame(self) -> None:
        self.seen += 1

    @message
    async def get(self) -> int:
        return self.seen
