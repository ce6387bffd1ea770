"""One actor class for each kind of model, key and field, all with messages."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from django.db import connections, models

from lightmoon_django import actor, message, ref, turn


class Hold:
    """Where handlers in threads wait until the test lets them go."""

    begun: ClassVar[threading.Semaphore] = threading.Semaphore(0)
    go: ClassVar[threading.Event] = threading.Event()
    seen: ClassVar[list[Any]] = []

    @classmethod
    def reset(cls) -> None:
        cls.begun, cls.go, cls.seen = threading.Semaphore(0), threading.Event(), []

    @classmethod
    def wait(cls) -> None:
        go = cls.go
        cls.begun.release()
        go.wait(30)


class Note(models.Model):
    """What blocking messages write beside their actor."""

    text = models.CharField(max_length=50)


class LinkMessages:
    """Blocking messages, of a row and of an object in memory."""

    count: Any

    @message
    def add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @message
    def ask(self, others: list[str]) -> int:
        """Ask the first of the others to ask the rest; how many were reached."""
        reached = ref(type(self), others[0]).ask.sync(others[1:]) if others else 0
        self.count += 1
        return reached + 1

    @message
    def hold_then_write(self, alias: str) -> None:
        self.count += 1000
        Hold.wait()
        try:
            Note.objects.using(alias).create(text="late")
        except Exception as error:
            Hold.seen.append(error)
            raise
        Hold.seen.append("written")

    @message
    def touch(self) -> int:
        """Read and write beside its own fields."""
        Note.objects.create(text=f"{self.count}")
        self.count += 1
        return Note.objects.count()

    @message
    def hold_connection(self) -> int:
        """Read, which takes a connection, and keep it."""
        self.count += Note.objects.count() + 1
        Hold.wait()
        return self.count

    @message
    def read_then_ask(self, other: str) -> int:
        """Ask while its own transaction keeps a connection."""
        Note.objects.count()
        return ref(type(self), other).add.sync(1)

    @message
    def backend(self) -> int:
        """The process id of its connection's server."""
        with connections["pg"].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            found: int = cursor.fetchone()[0]
        return found


@actor
class Link(LinkMessages, models.Model):
    count = models.IntegerField(default=0)

    @message
    async def quick(self) -> int:
        """Commits through the store's thread."""
        self.count += 1
        return self.count


@actor
class FreeLink(LinkMessages):
    count: int = 0


class Pair:
    """Messages between actors of two databases."""

    count: Any

    @message
    async def add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @message(read_only=True)
    async def get(self) -> int:
        return self.count

    @message(once=True)
    async def pay(self, n: int) -> None:
        self.count += n

    @message
    async def send(self, other: str, n: int) -> None:
        self.partner(other).pay.tell(n)

    @message
    async def visit(self, other: str) -> int:
        self.count += 1
        return await self.partner(other).add(1)  # type: ignore[no-any-return]

    @message
    def visit_blocking(self, other: str) -> int:
        Note.objects.using(self.home).count()
        reached: int = self.partner(other).add.sync(1)
        Note.objects.using(self.home).create(text="visited")
        self.count += 1
        return reached

    @message
    async def save_elsewhere(self, alias: str) -> None:
        self.count += 1
        turn.save(Remark(text="mine") if alias == "pg" else Note(text="mine"))

    @property
    def home(self) -> str:
        return "pg" if isinstance(self, Far) else "default"

    def partner(self, key: str) -> Any:
        return ref(Near if isinstance(self, Far) else Far, key)


@actor
class Near(Pair, models.Model):
    """The tests keep it in "default"."""

    count = models.IntegerField(default=0)


@actor(create=True)
class Far(Pair, models.Model):
    """The tests keep it in "pg"."""

    name = models.CharField(primary_key=True, max_length=20)
    count = models.IntegerField(default=0)


class Remark(models.Model):
    """The tests keep it in "pg"."""

    text = models.CharField(max_length=50)
