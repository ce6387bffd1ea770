"""Actors whose proxies are looked at. Plain classes, so that no table is needed."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any, Literal

from django.contrib.auth.models import User
from django.db import models

from lightmoon_django import actor, event, message


class Mood(enum.Enum):
    CALM = "calm"
    WILD = "wild"


@dataclasses.dataclass
class Bid:
    """Who bid what."""

    amount: Decimal
    at: datetime.datetime | None = None


@actor(view=["name", "until"])
class Gallery:
    """Shows things. */ alert(1) /*"""

    name: str = ""
    until: datetime.datetime | None = None
    secret: str = "never shown"

    @message(exposed=True)
    async def offer(self, bid: Bid, mood: Mood = Mood.CALM, note: str | None = None) -> list[Bid]:
        """Offer something.

        It may be refused.
        """
        return [bid]

    @message(exposed=True)
    async def visit(self, other: Gallery, when: datetime.datetime, kind: Literal["a", "b"]) -> Gallery:
        return other

    @message
    async def hidden_message(self, hidden_parameter: int) -> None: ...

    @message(exposed=True)
    async def anything(self, data: Any, ident: uuid.UUID) -> None: ...

    @event
    def sold(self, bid: Bid, to: str | None) -> None:
        """Somebody bought it."""


@actor
class Backstage:
    @message
    async def hidden_work(self) -> None: ...


@actor(view=["title", "price", "leader", "ends_at", "data"])
class Lot(models.Model):
    title = models.SlugField()
    price = models.DecimalField(max_digits=10, decimal_places=2)
    leader = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    ends_at = models.DateTimeField(null=True)
    data = models.JSONField(default=dict)
    hidden_field = models.TextField()

    class Meta:
        app_label = "proxytests"
        managed = False
