"""The live objects of the demo: two ordinary models, and what may be sent to them."""

from __future__ import annotations

from typing import TypedDict

from django.db import models
from django.utils import timezone
from rest_framework.permissions import AllowAny

from lightmoon_django import actor, event, message, turn
from lightmoon_django.errors import Rejected

LINES_KEPT = 50
LINE_LENGTH = 500  # characters
NAME_LENGTH = 24  # characters
BIGGEST_STEP = 100


class Line(TypedDict):
    """Something that was said. `id` counts up within its room."""

    id: int
    who: str
    text: str
    at: str


@actor(view=["title", "topic"], permission_classes=[AllowAny])
class Room(models.Model):
    """A room to talk in. What was said stays; who is here is known while the room is in memory."""

    slug = models.SlugField(primary_key=True, max_length=40)
    title = models.CharField(max_length=60)
    topic = models.CharField(max_length=200, blank=True)
    lines = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return self.title

    async def on_activate(self) -> None:
        self.here: dict[str | None, str] = {}  # names by session; empty until they say hello

    async def on_subscribe(self) -> None:
        self.here.setdefault(turn.caller, "")

    async def on_unsubscribe(self) -> None:
        if self.here.pop(turn.caller, ""):
            self.company(people=self._people())

    @message(exposed=True)
    async def hello(self, name: str) -> None:
        """Enter under a name, or change it. Everybody hears `company`, the caller too."""
        if turn.caller not in self.here:
            raise Rejected("Follow the room before you enter it.", code="not_following")
        self.here[turn.caller] = _text(name, NAME_LENGTH)
        self.company(people=self._people())

    @message(exposed=True)
    async def say(self, text: str) -> int:
        """Say something to everybody here. Answers the line's number."""
        line = Line(
            id=self.lines[-1]["id"] + 1 if self.lines else 1,
            who=self._name(),
            text=_text(text, LINE_LENGTH),
            at=timezone.now().isoformat(timespec="seconds"),
        )
        self.lines = [*self.lines, line][-LINES_KEPT:]
        self.said(line=line)
        return line["id"]

    @message(exposed=True, read_only=True)
    async def recent(self) -> list[Line]:
        """The last lines, oldest first."""
        return self.lines

    @message(exposed=True, read_only=True)
    async def typing(self) -> None:
        """Let others know that something is being written."""
        self.is_typing(who=self._name())

    @event
    def said(self, line: Line) -> None:
        """Somebody said something."""

    @event
    def company(self, people: list[str]) -> None:
        """Somebody came, left or has a new name. All who are here now."""

    @event
    def is_typing(self, who: str) -> None:
        """Somebody is writing."""

    def _name(self) -> str:
        name = self.here.get(turn.caller)
        if not name:
            raise Rejected("Say hello first.", code="stranger")
        return name

    def _people(self) -> list[str]:
        return sorted(filter(None, self.here.values()), key=str.casefold)


@actor(view=["count"], permission_classes=[AllowAny], create=True)
class Counter(models.Model):
    """A number that everybody sees and everybody can raise."""

    name = models.SlugField(primary_key=True, max_length=40)
    count = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        """Add `n`. Answers the new count."""
        if not 1 <= n <= BIGGEST_STEP:
            raise Rejected(f"Add 1 to {BIGGEST_STEP} at a time.", code="bad_step")
        self.count += n
        return self.count


def _text(text: str, limit: int) -> str:
    text = text.strip()
    if not text or len(text) > limit:
        raise Rejected(f"1 to {limit} characters, please.", code="bad_length")
    return text
