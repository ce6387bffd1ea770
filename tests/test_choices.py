"""Django's choices as type hints: enumerations with a metaclass of their own."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from django.db import models

from lightmoon_django import codec
from lightmoon_django.errors import InvalidParams


class Colour(models.TextChoices):
    RED = "r", "Red"
    BLUE = "b", "Blue"


class Size(models.IntegerChoices):
    SMALL = 1
    LARGE = 2


class Plain(enum.Enum):
    ONE = 1


@pytest.mark.parametrize("value", [Colour.BLUE, Size.LARGE, Plain.ONE])
def test_a_member_crosses_by_its_value(value: Any) -> None:
    shape = codec.Shape(type(value))
    assert shape.from_wire(shape.to_wire(value)) is value
    assert shape.from_local(shape.to_local(value)) is value


def test_members_inside_other_values() -> None:
    hint = dict[Colour, list[Size | None]]
    shape = codec.Shape(hint)
    value = {Colour.RED: [Size.SMALL, None]}
    assert shape.to_wire(value) == b'{"r":[1,null]}'
    assert shape.from_wire(b'{"r":[1,null]}') == value


@pytest.mark.parametrize(
    ("hint", "raw"), [(Colour, b'"x"'), (Colour, b"1"), (Size, b"3"), (Size, b"true"), (Size, b'"1"'), (Size, b"null")]
)
def test_what_is_no_member_is_refused_with_its_path(hint: Any, raw: bytes) -> None:
    """B19: by value and by type."""
    with pytest.raises(InvalidParams) as caught:
        codec.Shape(list[hint]).from_wire(b"[" + raw + b"]")
    assert caught.value.path == "$[0]"


def test_members_are_listed_for_clients() -> None:
    """Proxies and OpenRPC say which values there are."""

    def describe(cls: type) -> dict[str, Any]:
        raise NotImplementedError

    schemas, named = codec.json_schemas([Colour, Size], describe)
    found = [named[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema for schema in schemas]
    assert [set(schema["enum"]) for schema in found] == [{"r", "b"}, {1, 2}]  # by name since msgspec 0.23
