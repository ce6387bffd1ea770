from __future__ import annotations

from django.db import models


class Counter(models.Model):
    """The same row as `bench.project.models.Counter`, without an actor."""

    count = models.IntegerField(default=0)
    name = models.CharField(max_length=100, default="")
    note = models.CharField(max_length=200, default="")
