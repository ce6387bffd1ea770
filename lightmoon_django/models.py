"""The tables that LightMoon keeps for itself."""

from __future__ import annotations

from typing import Any

from django.db import models


class Node(models.Model):
    """One start of one process that hosts actors. Its id, the incarnation, is what rows name as their owner.

    Times are microseconds since 1970 on the database's clock, so that every engine compares them alike. A row is
    deleted only after its tombstone, so that an id which a fresh statement doesn't find is dead.
    """

    id: models.BigIntegerField[Any, int] = models.BigIntegerField(primary_key=True)
    host: models.CharField[Any, str] = models.CharField(
        max_length=200
    )  # boot id and pid namespace; empty when the system tells neither
    pid: models.PositiveIntegerField[Any, int] = models.PositiveIntegerField()
    process_started: models.CharField[Any, str] = models.CharField(
        max_length=40
    )  # as the kernel counts it; empty when unknown
    started_at: models.BigIntegerField[Any, int] = models.BigIntegerField()
    expires_at: models.BigIntegerField[Any, int] = models.BigIntegerField()
    dead: models.BooleanField[Any, bool] = models.BooleanField(default=False)

    class Meta:
        app_label = "lightmoon"
        db_table = "lightmoon_node"

    def __str__(self) -> str:
        return f"incarnation {self.pk} (process {self.pid})"
