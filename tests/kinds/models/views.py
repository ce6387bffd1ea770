"""Actors whose clients mirror what a serializer makes of them."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import ClassVar

from django.db import models

from lightmoon_django import actor, message
from tests.kinds.models.fields import Owner


@actor(view="tests.kinds.serializers.AuctionState")
class Bid(models.Model):
    title = models.CharField(max_length=40)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    leader = models.ForeignKey(Owner, null=True, on_delete=models.SET_NULL)
    ends = models.DateTimeField(default=datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))

    @message
    async def offer(self, price: Decimal, leader: int | None = None) -> Decimal:
        self.price, self.leader_id = price, leader
        return price


@actor(view="tests.kinds.serializers.QueryingState")
class Bidder(models.Model):
    count = models.IntegerField(default=0)
    friend = models.ForeignKey(Owner, null=True, on_delete=models.SET_NULL)

    @message
    async def befriend(self, friend: int | None) -> None:
        self.friend_id = friend

    @message
    async def add(self, n: int) -> None:
        self.count += n


@actor(view="tests.kinds.serializers.SparseState")
class Sparse:
    count: int = 0
    names: list[str] = []
    untold: int = 0
    since: ClassVar[datetime.date] = datetime.date(2026, 1, 1)

    @message
    async def put(self, name: str) -> None:
        self.names.append(name)

    @message
    async def clear(self) -> None:
        self.names.clear()
        self.count += 1

    @message
    async def whisper(self) -> None:
        self.untold += 1
