"""What clients outside are told in types that JSON doesn't have."""

from __future__ import annotations

import dataclasses
import datetime
from decimal import Decimal

from rest_framework.permissions import AllowAny

from lightmoon_django import actor, event, message, ref


@dataclasses.dataclass
class Offer:
    price: Decimal
    until: datetime.datetime


@actor(permission_classes=[AllowAny], view=["best", "until", "rivals"])
class Bazaar:
    """Haggling in memory."""

    best: Decimal = Decimal("1.50")
    until: datetime.datetime | None = None
    rivals: dict[str, int] = {}

    @message(exposed=True)
    async def bid(self, price: Decimal, days: int = 1) -> Offer:
        """The offer that stands now."""
        until = datetime.datetime(2030, 1, days, tzinfo=datetime.UTC)
        self.best, self.until = price, until
        self.outbid(price=price, until=until, at=ref(Bazaar, self.key))
        return Offer(price, until)

    @message(exposed=True)
    async def neighbours(self, count: int = 2) -> dict[str, Bazaar]:
        return {str(number): ref(Bazaar, f"{self.key}-{number}") for number in range(count)}

    @message(exposed=True)
    async def price_at(self, other: Bazaar) -> Decimal:
        return await other.price()

    @message(exposed=True, read_only=True)
    async def price(self) -> Decimal:
        return self.best

    @message
    async def close(self) -> None:
        """For the house alone."""

    @event
    def outbid(self, price: Decimal, until: datetime.datetime, at: Bazaar) -> None:
        """Somebody offers more."""
