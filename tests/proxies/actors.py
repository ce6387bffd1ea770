"""Actors whose proxies are looked at. Plain classes, so that no table is needed."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any, Literal

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
