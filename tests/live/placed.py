"""Actors that are placed by something else than where they are called."""

from __future__ import annotations

import asyncio

from django.db import models

from lightmoon_django import Role, actor, message


class PlacedMessages:
    """Mixed into one model for each strategy."""

    name: models.CharField
    count: models.IntegerField
    items: models.JSONField

    @message
    async def add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @message
    async def note(self, item: str) -> int:
        self.items = [*self.items, item]
        return len(self.items)

    @message
    async def noted(self) -> list[str]:
        return self.items

    @message
    async def slow(self, seconds: float) -> int:
        self.count += 1
        await asyncio.sleep(seconds)
        return self.count


class Placed(PlacedMessages, models.Model):
    name = models.CharField(primary_key=True, max_length=40)
    count = models.IntegerField(default=0)
    items = models.JSONField(default=list)

    class Meta:
        abstract = True
        app_label = "live"


@actor(create=True, placement="random")
class Strewn(Placed):
    """Anywhere."""


@actor(create=True, placement="least_loaded")
class Levelled(Placed):
    """Where there is least to do."""


@actor(create=True, placement=Role("game"))
class Game(Placed):
    """On processes for games."""
