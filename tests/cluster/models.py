"""The actors that the chaos tests call."""

from __future__ import annotations

import asyncio
from typing import Any

from django.db import models
from rest_framework.permissions import AllowAny

from lightmoon_django import actor, event, message, ref


@actor(view=["count"], permission_classes=[AllowAny], create=True)
class Meter(models.Model):
    """A counter, with several ways to count that take different ways through the runtime."""

    name = models.CharField(primary_key=True, max_length=40)
    count = models.IntegerField(default=0)

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        return self._grown(n)

    @message
    async def add_slowly(self, n: int = 1) -> int:
        """Read, wait, and write: two at once would show."""
        before = self.count
        await asyncio.sleep(0.01)
        self.count = before
        return self._grown(n)

    @message
    def add_blocking(self, n: int = 1) -> int:
        """In a worker thread's transaction."""
        return self._grown(n)

    @message(once=True)
    async def pay(self, n: int = 1) -> int:
        """Counted once for each call id."""
        return self._grown(n)

    @message(exposed=True, read_only=True)
    async def get(self) -> int:
        return self.count

    @event
    def added(self, n: int, count: int) -> None:
        """The count has grown."""

    def _grown(self, n: int) -> int:
        self.count += n
        self.added(n=n, count=self.count)
        return self.count


@actor(create=True)
class Leaf(models.Model):
    """One of many that call each other in trees. It remembers what has happened to it, by the names of the calls."""

    name = models.CharField(primary_key=True, max_length=40)
    done = models.JSONField(default=list)

    @message
    async def grow(self, call: str, then: list[Any]) -> int:
        """`then` holds what to call: a key, the name of that call, and what it calls itself. Gives how many ran."""
        self.done = [*self.done, call]
        found = [await ref(Leaf, key).grow(name, rest) for key, name, rest in then]
        return 1 + sum(found)

    @message
    async def grow_at_once(self, call: str, then: list[Any]) -> int:
        self.done = [*self.done, call]
        found = await asyncio.gather(*(ref(Leaf, key).grow_at_once(name, rest) for key, name, rest in then))
        return 1 + sum(found)

    @message(read_only=True)
    async def get(self) -> list[str]:
        return self.done
