"""What is called, and what ordinary views write."""

from __future__ import annotations

from django.db import models
from rest_framework.permissions import AllowAny

from lightmoon_django import actor, event, message


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

    @message(exposed=True, once=True)
    async def add_once(self, n: int) -> int:
        self.count += n
        return self.count


@actor(permission_classes=[AllowAny])
class Channel:
    """Tells everybody."""

    @message(exposed=True)
    async def publish(self, text: str) -> None:
        self.said(text=text)

    @event
    def said(self, text: str) -> None:
        """Somebody published."""


class Note(models.Model):
    """What ordinary views write meanwhile."""

    text = models.CharField(max_length=200)
