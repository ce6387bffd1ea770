"""Actors that act by the clock."""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from django.db import models

from lightmoon_django import actor, event, every, message
from lightmoon_django.errors import Rejected
from tests.live.models import Probe


class Script:
    """What the tests let actors do beyond counting."""

    tick: ClassVar[Any] = None
    ring: ClassVar[Any] = None
    act: ClassVar[Any] = None
    activate: ClassVar[Any] = None
    deactivate: ClassVar[Any] = None

    @classmethod
    def clear(cls) -> None:
        cls.tick = cls.ring = cls.act = cls.activate = cls.deactivate = None


class Beats:
    """Mixed into a model and into a plain class."""

    count: Any
    other: Any

    async def on_deactivate(self) -> None:
        if Script.deactivate is not None:
            Script.deactivate(self)

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
    async def ring(self) -> None: ...

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


class Rings:
    """Mixed into two models."""

    count: Any

    async def on_activate(self) -> None:
        if Script.activate is not None:
            Script.activate(self)

    @message
    async def ring(self, note: str = "", n: int = 1) -> None:
        self.count += n
        Probe.log.append(("ring", note))
        if Script.ring is not None:
            await Script.ring(self)

    @message(timeout=300)
    def ring_in_thread(self, note: str = "") -> None:
        self.count += 1
        Probe.log.append(("ring", note))

    @message
    async def act(self, then_fail: bool = False) -> None:
        """Whatever the test wants to do inside a turn."""
        self.count += 100
        Script.act(self)
        if then_fail:
            raise Rejected("After that.")

    @message
    def act_in_thread(self) -> None:
        Script.act(self)

    @message(read_only=True)
    async def look(self) -> None:
        Script.act(self)

    @message
    async def get(self) -> int:
        return self.count


@actor
class Alarm(Rings, models.Model):
    count = models.IntegerField(default=0)


@actor(create=True)
class MadeAlarm(Rings, models.Model):
    """A missing row is made, but not for a reminder."""

    count = models.IntegerField(default=0)
