"""The end of stored answers."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from lightmoon_django.models import Answer
from lightmoon_django.persistence.recorder import CHUNK, portions

PORTION = 1000  # answers of one transaction, so that it stays short


def clean(alias: str, now: int, limit: int) -> int:
    """Delete up to `limit` answers that have expired, the oldest first. How many went."""
    rows: Any = Answer._base_manager.using(alias)
    expired = rows.filter(expires_at__lte=now)
    ids = list(expired.order_by("expires_at").values_list("pk", flat=True)[:limit])
    # Judged again: one of them may have been stored anew since.
    return sum(expired.filter(pk__in=some)._raw_delete(alias) for some in portions(ids, CHUNK))


def clean_all(alias: str, now: int) -> int:
    """Delete all that have expired, in one short transaction after another."""
    gone = 0
    while True:
        with transaction.atomic(using=alias):
            found = clean(alias, now, PORTION)
        gone += found
        if found < PORTION:
            return gone
