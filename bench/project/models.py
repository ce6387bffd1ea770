"""What is called, and what ordinary views write."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from django.db import models
from rest_framework.permissions import AllowAny

from lightmoon_django import actor, event, every, message
from lightmoon_django.actor.turn import current


@actor(permission_classes=[AllowAny])
class Counter(models.Model):
    """Three fields, of which one changes with every call."""

    count = models.IntegerField(default=0)
    name = models.CharField(max_length=100, default="")
    note = models.CharField(max_length=200, default="")

    @message(exposed=True)
    async def add(self, n: int) -> int:
        self.count += n
        return self.count

    @message
    async def ring(self, due_at: int) -> None:
        """Count the microseconds that it is late."""
        self.count = time.time_ns() // 1000 - due_at

    @message(exposed=True, once=True)
    async def add_once(self, n: int) -> int:
        self.count += n
        return self.count

    @message
    async def echo(self, text: str) -> str:
        """Change nothing: what is left is the way there and back."""
        return text

    @message
    async def spin(self, microseconds: int) -> None:
        """Use the processor for so long."""
        end = time.thread_time_ns() + 1000 * microseconds
        while time.thread_time_ns() < end:
            pass


@actor(permission_classes=[AllowAny], create=True)
class Bulletin(models.Model):
    """Tells everybody, also on other nodes."""

    name = models.CharField(primary_key=True, max_length=40)

    @message(exposed=True)
    async def publish(self, text: str) -> None:
        self.said(text=text)

    @event
    def said(self, text: str) -> None:
        """Somebody published."""


@actor(permission_classes=[AllowAny])
class Channel:
    """Tells everybody."""

    @message(exposed=True)
    async def publish(self, text: str) -> None:
        self.said(text=text)

    @event
    def said(self, text: str) -> None:
        """Somebody published."""


@actor
class Metronome:
    """Sixty ticks in a second."""

    late: ClassVar[list[float]] = []  # seconds, of all of them

    @message
    async def start(self) -> None:
        """It is in memory now."""

    @every(1 / 60)
    async def tick(self) -> None:
        now, start = time.monotonic(), self._timer._start
        self.late.append((now - start) % self._timer._schema.period)

    @property
    def _timer(self) -> Any:
        turn = current()
        assert turn is not None
        return turn.activation.timers._timers[0]


class Note(models.Model):
    """What ordinary views write meanwhile."""

    text = models.CharField(max_length=200)
