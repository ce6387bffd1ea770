"""Serializers that are views, and some that can't be."""

from __future__ import annotations

import datetime
from typing import Any

from django.utils.translation import gettext_lazy
from rest_framework import serializers

from tests.kinds.models.views import Bid, Bidder


class AuctionState(serializers.ModelSerializer[Any]):
    """What an auction shows."""

    cents = serializers.SerializerMethodField()
    leader = serializers.PrimaryKeyRelatedField[Any](read_only=True)
    label = serializers.SerializerMethodField()
    secret = serializers.CharField(write_only=True, required=False)

    class Meta:
        model = Bid
        fields = ("title", "price", "leader", "ends", "cents", "label", "secret")

    def get_cents(self, instance: Bid) -> int:
        return int(instance.price * 100)

    def get_label(self, instance: Bid) -> Any:
        return gettext_lazy("Yes") if instance.price else None


class QueryingState(serializers.ModelSerializer[Any]):
    """Asks the database where no declaration shows it."""

    leader = serializers.SerializerMethodField()

    class Meta:
        model = Bidder
        fields = ("count", "leader")

    def get_leader(self, instance: Bidder) -> str | None:
        return instance.friend.name if instance.friend_id else None


class SparseState(serializers.Serializer[Any]):
    """Of an actor in memory; leaves out what is empty."""

    count = serializers.IntegerField()
    names = serializers.ListField(child=serializers.CharField())
    since = serializers.DateField(default=datetime.date(2026, 1, 1))

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {name: value for name, value in super().to_representation(instance).items() if value}
