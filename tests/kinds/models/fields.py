"""Actor classes with every kind of column and of inheritance."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

from django.db import models
from django.db.models.functions import Now, Upper

from lightmoon_django import actor, message, turn
from lightmoon_django.errors import Rejected
from tests.live.models import Probe


class Colour(models.TextChoices):
    RED = "r", "Red"
    BLUE = "b", "Blue"


class Size(models.IntegerChoices):
    SMALL = 1
    LARGE = 2


class Owner(models.Model):
    name = models.CharField(max_length=40)


@actor
class Document(models.Model):
    """JSON, choices, a file, a foreign key."""

    body = models.JSONField(default=dict)
    colour = models.CharField(max_length=1, choices=Colour.choices, default=Colour.RED)
    size = models.IntegerField(choices=Size.choices, default=Size.SMALL)
    attached = models.FileField(upload_to="documents", blank=True)
    owner = models.ForeignKey(Owner, null=True, on_delete=models.SET_NULL)

    @message
    async def paint(self, colour: Colour, size: Size) -> str:
        self.colour, self.size = colour, size
        return self.get_colour_display()

    @message
    async def looks(self) -> tuple[str, int]:
        return self.colour, self.size

    @message
    async def attach(self, name: str) -> str:
        self.attached.name = name
        return self.attached.name or ""

    @message
    async def file(self) -> str:
        return f"{type(self.attached).__name__}:{self.attached.name}:{bool(self.attached)}"

    @message
    async def deepen(self, fail: bool = False) -> int:
        """Change something deep inside."""
        inner = self.body.setdefault("a", {}).setdefault("b", [])
        inner.append({"n": len(inner)})
        if fail:
            raise Rejected("After the change.")
        return len(inner)

    @message
    def give(self, owner: int | None, fail: bool = False) -> str:
        """Set the related object, which caches it."""
        self.owner = None if owner is None else Owner.objects.get(pk=owner)
        if fail:
            raise Rejected("After the change.")
        return self.owner.name if self.owner else ""

    @message
    async def give_id(self, owner: int | None) -> None:
        self.owner_id = owner

    @message
    async def give_new(self, name: str) -> None:
        """Set a related object that will get its key with the commit only."""
        self.size = Size.LARGE
        self.owner = Owner(name=name)
        turn.save(self.owner)

    @message
    def give_before_saving(self, name: str) -> None:
        """Set a related object that gets its key later in the turn."""
        self.owner = Owner(name=name)
        self.owner.save()

    @message
    def owned_by(self) -> str:
        return self.owner.name if self.owner else ""


@actor(view=["net", "gross"])
class Priced(models.Model):
    """Decimals, and a column that the database computes from another one."""

    net = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    gross = models.GeneratedField(
        expression=models.F("net") * 2,
        output_field=models.DecimalField(max_digits=9, decimal_places=2),
        db_persist=True,
    )

    @message
    async def price(self, net: decimal.Decimal) -> decimal.Decimal:
        self.net = net
        return self.net

    @message
    async def wait(self, net: decimal.Decimal | None = None) -> decimal.Decimal:
        """Suspend until the test has seen others' commits come back."""
        await Probe.gate("priced").wait()
        if net is not None:
            self.net = net
        return self.gross  # type: ignore[no-any-return]

    @message(read_only=True)
    async def prices(self) -> tuple[decimal.Decimal, decimal.Decimal]:
        return self.net, self.gross


@actor
class Clock(models.Model):
    """Times that Django and the database set."""

    ticks = models.IntegerField(default=0)
    made = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)
    day = models.DateField(auto_now=True)

    @message
    async def tick(self, n: int = 1) -> datetime.datetime:
        self.ticks += n
        return self.changed

    @message
    async def times(self) -> tuple[datetime.datetime, datetime.datetime]:
        return self.made, self.changed


@actor(create=True)
class Visit(models.Model):
    """Defaults that only the database knows."""

    place = models.CharField(primary_key=True, max_length=40)
    label = models.CharField(max_length=20, db_default=Upper(models.Value("new")))
    rank = models.IntegerField(db_default=7)
    first = models.DateTimeField(db_default=Now())

    @message
    async def seen(self) -> tuple[str, int, bool]:
        return self.label, self.rank, isinstance(self.first, datetime.datetime)

    @message
    async def promote(self) -> int:
        self.rank += 1
        return self.rank


class Folder(models.Model):
    """A plain parent with a table of its own."""

    title = models.CharField(max_length=40)


@actor(create=True)
class Album(Folder):
    """A row in two tables."""

    photos = models.IntegerField(default=0)

    @message
    async def put(self, title: str) -> int:
        self.title = title
        self.photos += 1
        return self.photos

    @message
    async def count(self) -> int:
        return self.photos

    @message
    def put_blocking(self, title: str) -> int:
        self.title = title
        self.photos += 1
        return self.photos


class Box(Album):
    """A plain child of an actor's class."""

    lids = models.IntegerField(default=1)


@actor
class Shop(models.Model):
    """A `save()` of its own, which takes no arguments."""

    title = models.CharField(max_length=40)
    slug = models.CharField(max_length=40, default="")

    def save(self) -> None:  # type: ignore[override]
        self.slug = self.title.lower().replace(" ", "-")
        super().save()

    @message
    async def rename(self, title: str) -> None:
        self.title = title

    @message
    def rename_blocking(self, title: str) -> None:
        self.title = title

    @message
    async def names(self) -> tuple[str, str]:
        return self.title, self.slug


class DealLog(models.Model):
    """What a receiver writes."""

    deal = models.IntegerField()
    amount = models.IntegerField()


@actor
class Deal(models.Model):
    """Tests connect receivers to it."""

    amount = models.IntegerField(default=0)

    @message
    async def raise_to(self, amount: int) -> int:
        self.amount = amount
        return self.amount

    @message
    async def current(self) -> int:
        return self.amount


@actor
class Plant(models.Model):
    """Its table is migrated while rows of it are owned."""

    height = models.IntegerField(default=0)
    name = models.CharField(max_length=20, default="")

    @message
    async def grow(self, n: int = 1) -> int:
        self.height += n
        return self.height

    @message
    def grow_blocking(self, n: int = 1) -> int:
        self.height += n
        return self.height

    @message(read_only=True)
    async def measure(self) -> int:
        return self.height


def _tags() -> Any:
    """An array, where the tests have PostgreSQL."""
    try:
        from django.contrib.postgres.fields import ArrayField
    except ImportError:
        return models.JSONField(default=list)
    return ArrayField(models.CharField(max_length=20), default=list)


@actor
class Papers(models.Model):
    """An array of PostgreSQL's."""

    tags = _tags()

    class Meta:
        required_db_vendor = "postgresql"

    @message
    async def tag(self, name: str, fail: bool = False) -> list[str]:
        self.tags.append(name)
        if fail:
            raise Rejected("After the change.")
        return self.tags  # type: ignore[no-any-return]

    @message
    async def all(self) -> list[str]:
        return self.tags  # type: ignore[no-any-return]
