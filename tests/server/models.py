"""What the server tests call from outside."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from django.db import models
from rest_framework.permissions import AllowAny, BasePermission

from lightmoon_django import actor, event, message, turn
from lightmoon_django.errors import Rejected


class Slowly(BasePermission):
    """Takes its time to say yes."""

    def has_permission(self, request: Any, view: Any) -> bool:
        time.sleep(0.2)
        return True


@actor(view=["count"], permission_classes=[AllowAny], create=True)
class Clicks(models.Model):
    name = models.CharField(primary_key=True, max_length=40)
    count = models.IntegerField(default=0)

    class Meta:
        app_label = "server"

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @message(exposed=True, permission_classes=[Slowly])
    async def add_judged(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @message(exposed=True, read_only=True)
    async def count_now(self) -> int:
        return self.count

    @message(exposed=True)
    async def remind(self, seconds: float) -> None:
        """Add one then, whatever happens to this process."""
        self.add.after(seconds, 1)

    @message(exposed=True)
    async def burst(self, events: int) -> int:
        for number in range(events):
            self.tick(number=number)
        return events

    @message(exposed=True)
    async def long_text(self, size: int) -> str:
        return "x" * size

    @message(exposed=True)
    async def refuse(self) -> None:
        raise Rejected("No.", code="refused", data={"at": 7})

    @message(exposed=True)
    async def bug(self) -> None:
        raise ZeroDivisionError("secret detail")

    @message(exposed=True)
    async def sleep(self) -> None:
        self.count += 1000
        await asyncio.Event().wait()

    @message(exposed=True)
    async def slow(self, seconds: float) -> int:
        self.count += 1
        await asyncio.sleep(seconds)
        return self.count

    @message(exposed=True)
    def blocking(self) -> int:
        self.count += 1
        return Clicks.objects.count()

    @message
    async def hidden(self) -> str:
        return "never"

    @event
    def tick(self, number: int) -> None:
        """One of a burst."""


@actor(permission_classes=[AllowAny], create=True, presence=True)
class Lobby(models.Model):
    name = models.CharField(primary_key=True, max_length=40)

    class Meta:
        app_label = "server"


@actor(view=["lines"], permission_classes=[AllowAny], create=True)
class Room(models.Model):
    name = models.CharField(primary_key=True, max_length=40)
    lines = models.IntegerField(default=0)
    comers = models.JSONField(default=list)

    class Meta:
        app_label = "server"

    async def on_subscribe(self) -> None:
        self.comers = [*self.comers, f"+{turn.caller}"]

    async def on_unsubscribe(self) -> None:
        self.comers = [*self.comers, f"-{turn.caller}"]

    @message(exposed=True)
    async def say(self, text: str) -> int:
        self.lines += 1
        self.said(text=text, by=str(turn.user))
        return self.lines

    @message(exposed=True)
    async def say_many(self, count: int) -> int:
        for number in range(count):
            self.said(text=str(number), by="")
        return count

    @message(exposed=True)
    async def visits(self) -> list[str]:
        return self.comers

    @event
    def said(self, text: str, by: str) -> None:
        """Somebody spoke."""


@actor(view=["title", "closed", "link", "notes"], permission_classes=[AllowAny], create=True)
class Board(models.Model):
    """What a page may show of an actor: texts, a switch, a list."""

    name = models.CharField(primary_key=True, max_length=40)
    title = models.CharField(max_length=40, default="Untitled")
    closed = models.BooleanField(default=False)
    link = models.CharField(max_length=80, default="/elsewhere")
    notes = models.JSONField(default=list)

    class Meta:
        app_label = "server"

    @message(exposed=True)
    async def rename(self, title: str) -> None:
        if not title:
            raise Rejected("A title, please.", code="empty")
        self.title = title

    @message(exposed=True)
    async def close(self, closed: bool) -> None:
        self.closed = closed

    @message(exposed=True)
    async def lead(self, link: str) -> None:
        self.link = link

    @message(exposed=True)
    async def note(self, text: str, stars: int = 0, urgent: bool = False) -> int:
        self.notes = [*self.notes, {"id": len(self.notes) + 1, "text": text, "stars": stars, "urgent": urgent}]
        self.noted(text=text)
        return len(self.notes)

    if "SERVER_NEWER" in os.environ:  # another schema, as after a deployment

        @message(exposed=True)
        async def clear(self) -> None:
            self.notes = []

    @message(exposed=True)
    async def remove(self, id: int) -> None:
        self.notes = [one for one in self.notes if one["id"] != id]

    @event
    def noted(self, text: str) -> None:
        """Somebody put up a note."""
