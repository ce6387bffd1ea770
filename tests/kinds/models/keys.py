"""One actor class for each kind of primary key, all made on demand."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from lightmoon_django import actor, message


class Counted(models.Model):
    """An abstract base with a field and messages."""

    count = models.IntegerField(default=0)

    class Meta:
        abstract = True

    @message
    async def add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    @message
    def add_blocking(self, n: int = 1) -> int:
        self.count += n
        return self.count


class Badge:
    """A value of one's own: three letters and a number."""

    def __init__(self, letters: str, number: int) -> None:
        self.letters, self.number = letters, number

    def __str__(self) -> str:
        return f"{self.letters}-{self.number:03d}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Badge) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __len__(self) -> int:
        return len(str(self))


class BadgeField(models.CharField):  # type: ignore[type-arg]
    """A column of texts whose values are badges."""

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, Badge):
            return value
        letters, _, number = str(value).partition("-")
        if not number.isdecimal():
            raise ValidationError("A badge is three letters and a number.")
        return Badge(letters, int(number))

    def from_db_value(self, value: Any, *_: Any) -> Any:
        return self.to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        return None if value is None else str(value)


@actor(create=True)
class ByAuto(Counted):
    id = models.BigAutoField(primary_key=True)


@actor(create=True)
class ByUuid(Counted):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


@actor(create=True)
class ByText(Counted):
    name = models.CharField(primary_key=True, max_length=40)


@actor(create=True)
class ByCode(Counted):
    code = BadgeField(primary_key=True, max_length=10)


class Person(models.Model):
    name = models.CharField(max_length=40)


@actor(create=True)
class ByOwner(Counted):
    person = models.OneToOneField(Person, primary_key=True, on_delete=models.CASCADE)
