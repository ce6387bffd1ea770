"""What the processes of the cluster tests host beside the actors of `tests.live` and `tests.server`."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from rest_framework.permissions import AllowAny

from lightmoon_django import Role, actor, event, message, ref, turn
from tests.live.models import Probe

PAGE = 200  # tokens that stay in a meter's own row


class Page(models.Model):
    """No actor: calls that a meter has run, so that its row stays small."""

    meter = models.CharField(max_length=40)
    tokens = models.JSONField()


@actor(view=["count"], permission_classes=[AllowAny], create=True)
class Meter(models.Model):
    """A counter, with several ways to count that take different ways through the runtime.

    It remembers every call by the token that came with it: one that ran twice can't hide behind one that never did.
    """

    name = models.CharField(primary_key=True, max_length=40)
    count = models.IntegerField(default=0)
    tokens = models.JSONField(default=list)

    @message(exposed=True)
    async def add(self, token: str = "") -> int:
        return self._grown(token)

    @message
    async def add_slowly(self, token: str = "") -> int:
        """Read, wait, and write: two at once would show."""
        before = self.count
        await asyncio.sleep(0.01)
        self.count = before
        return self._grown(token)

    @message
    def add_blocking(self, token: str = "") -> int:
        """In a worker thread's transaction."""
        return self._grown(token)

    @message(once=True)
    async def pay(self, token: str = "") -> int:
        """Counted once for each call id."""
        return self._grown(token)

    @message(exposed=True, read_only=True)
    async def get(self) -> int:
        return self.count

    @message
    def ran(self) -> list[str]:
        """The tokens of all calls that it counted."""
        pages = Page.objects.filter(meter=self.name).values_list("tokens", flat=True)
        return [*itertools.chain(*pages), *self.tokens]

    @event
    def added(self, n: int, count: int) -> None:
        """The count has grown."""

    def _grown(self, token: str) -> int:
        self.count += 1
        self.tokens = [*self.tokens, token]
        if len(self.tokens) >= PAGE:
            turn.save(Page(meter=self.name, tokens=self.tokens))
            self.tokens = []
        self.added(n=1, count=self.count)
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


class Owner(models.Model):
    """No actor: what a ledger refers to."""

    name = models.CharField(max_length=20)

    class Meta:
        required_db_vendor = "postgresql"


class Entry(models.Model):
    """No actor: what a ledger writes beside itself."""

    text = models.CharField(max_length=50)

    class Meta:
        required_db_vendor = "postgresql"


@actor(view=["balance", "note"], permission_classes=[AllowAny], create=True)
class Ledger(models.Model):
    name = models.CharField(primary_key=True, max_length=40)
    balance = models.IntegerField(default=0)
    note = models.CharField(max_length=20, default="")
    tags: Any = ArrayField(ArrayField(models.IntegerField()), default=list)
    owner: Any = models.ForeignKey(Owner, null=True, on_delete=models.CASCADE)
    steps = models.JSONField(default=list)

    class Meta:
        required_db_vendor = "postgresql"

    async def on_activate(self) -> None:
        Probe.log.append(("activate", self.name))

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        self.balance += n
        self.added(n=n)
        return self.balance

    @message(exposed=True, read_only=True)
    async def get(self) -> int:
        return self.balance

    @message(exposed=True)
    async def count(self, first: int, last: int) -> int:
        """Emit each number from `first` to before `last`."""
        for n in range(first, last):
            self.added(n=n)
        return last

    @message(exposed=True)
    async def hold(self, gate: str, n: int = 1) -> int:
        self.balance += n
        Probe.log.append(("holding", gate))
        await Probe.gate(gate).wait()
        return self.balance

    @message(exposed=True, once=True)
    async def pay(self, n: int) -> int:
        self.balance += n
        return self.balance

    @message
    async def write(self, note: str) -> int:
        self.note = note
        self.balance += 1
        return self.balance

    @message
    async def arrange(self, tags: list[list[int]]) -> int:
        self.tags = tags
        self.balance += 1
        return self.balance

    @message
    async def belong(self, owner: int) -> int:
        self.owner_id = owner
        self.balance += 1
        return self.balance

    @message(read_only=True)
    async def note_now(self) -> str:
        return self.note

    @message
    async def step(self, name: str) -> None:
        self.steps = [*self.steps, name]

    @message
    def step_blocking(self, name: str, seconds: float = 0.0) -> list[str]:
        """A plain method, that sees what is stored through the ORM."""
        stored = Ledger.objects.values_list("steps", flat=True).get(pk=self.pk)
        assert stored == self.steps, f"{stored} is stored, {self.steps} is in memory"
        time.sleep(seconds)
        self.steps = [*self.steps, name]
        return self.steps

    @message
    async def remind_after(self, gate: str) -> None:
        """Change no column: only a reminder is stored."""
        await self._held(gate)
        self.add.after(3600, 1)

    @message
    async def write_after(self, gate: str) -> None:
        """Change no column: only another table is written."""
        await self._held(gate)
        turn.save(Entry(text=gate))

    async def _held(self, gate: str) -> None:
        Probe.log.append(("holding", gate))
        try:
            await Probe.gate(gate).wait()
        finally:
            Probe.log.append(("past", gate))

    @event
    def added(self, n: int) -> None:
        """Something was added, or counted."""


class InMemory:
    """What actors of plain classes answer here: what they have counted, and nobody has stored."""

    count: int = 0

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        self.count += n
        self.added(n=n, count=self.count)
        return self.count

    @message
    def add_blocking(self, n: int = 1) -> int:
        """In a worker thread."""
        self.count += n
        return self.count

    @message
    async def hold(self, gate: str, n: int = 1) -> int:
        Probe.log.append(("holding", gate))
        await Probe.gate(gate).wait()
        self.count += n
        return self.count

    @message
    async def visitors(self) -> list[str]:
        return sorted(found.info.get("username", "") for found in turn.presence.values())

    @event
    def added(self, n: int, count: int) -> None:
        """The count has grown."""


@actor(view=["count"], permission_classes=[AllowAny], presence=["username"])
class Den(InMemory):
    """Where it is called."""


@actor(placement="random")
class Wisp(InMemory):
    """Anywhere."""


@actor(placement=Role("game"))
class Arcade(InMemory):
    """On processes for games."""


@actor(idle_after=0.1)
class Fly(InMemory):
    """Soon gone."""
