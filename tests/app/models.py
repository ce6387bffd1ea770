"""One model for each thing that makes storing a row different."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from rest_framework.permissions import BasePermission

from lightmoon_django import actor, message


@actor
class Counter(models.Model):
    """The plain case."""

    count = models.IntegerField(default=0)
    name = models.CharField(max_length=20, default="")
    note = models.TextField(default="", blank=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=~models.Q(count=13), name="testapp_unlucky"),)

    @message
    async def add(self, n: int = 1) -> int:
        self.count += n
        return self.count


@actor(create=True)
class Document(models.Model):
    """JSON, and a row that is made on demand."""

    body = models.JSONField(default=dict)
    extra = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    title = models.CharField(max_length=50, default="untitled")


class Papers(models.JSONField):
    """Somebody's own field, which converts nothing."""


class Sealed(models.JSONField):
    """One that converts."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        found = super().from_db_value(value, expression, connection)
        return None if found is None else found["sealed"]

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        return super().get_db_prep_value(None if value is None else {"sealed": value}, connection, prepared)


class Host(models.CharField):
    """Texts that only the driver knows how to write."""

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else bytearray(str(value), "ascii")

    def db_type(self, connection: Any) -> str:
        return "bytea" if connection.vendor == "postgresql" else "blob"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else bytes(value).decode("ascii")


@actor
class Folder(models.Model):
    """Fields of a project's own."""

    papers = Papers(default=dict)
    sealed = Sealed(default=dict)
    host = Host(max_length=100, null=True)


@actor(create=True)
class Device(models.Model):
    """A UUID as key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    online = models.BooleanField(default=False)


@actor(create=True)
class Room(models.Model):
    """A text as key."""

    slug = models.CharField(primary_key=True, max_length=40)
    topic = models.CharField(max_length=100, default="")


class Patient(BasePermission):
    """Judged in a thread."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return True


@actor(permission_classes=[Patient])
class Scroll(models.Model):
    """A text of any length as key."""

    text = models.TextField(primary_key=True)

    @message(exposed=True)
    async def read(self) -> str:
        return self.text


class Place(models.Model):
    """A plain parent."""

    name = models.CharField(max_length=50)


@actor
class Restaurant(Place):
    """A row in two tables."""

    stars = models.IntegerField(default=0)


@actor
class Audited(models.Model):
    """Its own save()."""

    title = models.CharField(max_length=50)
    slug = models.CharField(max_length=50, default="")
    saves: int

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.slug = self.title.lower().replace(" ", "-")
        super().save(*args, **kwargs)


@actor
class Stamped(models.Model):
    """Values that the database layer makes."""

    value = models.IntegerField(default=0)
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)


@actor
class Member(models.Model):
    """A foreign key, and every plain type."""

    counter = models.ForeignKey(Counter, null=True, on_delete=models.CASCADE)
    email = models.EmailField(unique=True, null=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    ratio = models.FloatField(default=0.0)
    active = models.BooleanField(default=True)
    born = models.DateField(null=True)
    at = models.TimeField(null=True)
    seen = models.DateTimeField(null=True)
    spent = models.DurationField(null=True)
    token = models.UUIDField(null=True)
    data = models.BinaryField(null=True)
    address = models.GenericIPAddressField(null=True)
    size = models.PositiveSmallIntegerField(default=0)


@actor
class Signalled(models.Model):
    """Tests connect receivers to it."""

    value = models.IntegerField(default=0)


@actor
class Computed(models.Model):
    """A generated column."""

    base = models.IntegerField(default=0)
    double = models.GeneratedField(expression=models.F("base") * 2, output_field=models.IntegerField(), db_persist=True)


class Payment(models.Model):
    """Not an actor: what barrier turns write beside one."""

    counter = models.ForeignKey(Counter, on_delete=models.CASCADE)
    amount = models.IntegerField()


@actor
class Scratchpad:
    """Memory only."""

    lines: list[str] = []
    total: int = 0
