"""Serializers as views, before anything runs: what is refused, and what clients are told of the rest."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from rest_framework import serializers

from lightmoon_django import actor
from lightmoon_django.actor import registry
from lightmoon_django.actor.schema import SchemaError
from lightmoon_django.checks import declarations
from lightmoon_django.contrib.rest_framework.serializer_view import serializer_view
from lightmoon_django.proxies import manifest, openrpc
from tests.kinds.models import Album, Bid, ByOwner, Document


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Forget afterwards what a test declared."""
    kept = [dict(registry._registered), dict(registry._refs), dict(registry._schemas)]
    yield
    for current, before in zip((registry._registered, registry._refs, registry._schemas), kept, strict=True):
        current.clear()
        current.update(before)  # type: ignore[arg-type]


class _Part(serializers.Serializer[Any]):
    name = serializers.CharField()
    size = serializers.IntegerField(allow_null=True)


_OWNER: dict[str, Any] = {"source": "owner", "read_only": True}
REFUSED: list[Any] = [
    pytest.param(serializers.StringRelatedField[Any](source="owner"), "StringRelatedField", id="string"),
    pytest.param(serializers.SlugRelatedField[Any](slug_field="name", **_OWNER), "SlugRelatedField", id="slug"),
    pytest.param(serializers.HyperlinkedRelatedField[Any](view_name="x", **_OWNER), "Hyperlinked", id="link"),
    pytest.param(_Part(source="owner"), "relation owner", id="nested"),
    pytest.param(serializers.CharField(source="owner.name"), "relation owner", id="dotted"),
    pytest.param(serializers.PrimaryKeyRelatedField[Any](many=True, **_OWNER), "ManyRelatedField", id="many"),
]


@pytest.mark.parametrize(("field", "reason"), REFUSED)
def test_what_needs_the_database_is_refused_at_declaration(field: Any, reason: str) -> None:
    """B66: it could not run on the event loop; the hint says what to do instead."""
    view = type("View", (serializers.Serializer,), {"part": field})
    with pytest.raises(SchemaError, match=reason) as caught:
        serializer_view(Document, view)
    assert "part" in str(caught.value)
    assert "PrimaryKeyRelatedField" in caught.value.hint


def test_a_serializer_without_fields_is_refused() -> None:
    """B66: clients would mirror nothing."""
    with pytest.raises(SchemaError, match="no fields"):
        serializer_view(Document, type("View", (serializers.Serializer,), {}))


@pytest.mark.parametrize("given", ["nowhere.View", "title", int, 7])
def test_a_view_that_is_no_view_is_an_error_of_the_check(own_registry: None, given: Any) -> None:
    """B66: lightmoon.E007, with a hint."""

    @actor(view=given)
    class Odd:
        title: str = ""

    (found,) = declarations.check_actor(Odd)
    assert found.id == "lightmoon.E007"
    assert found.hint


def hints(cls: type, **fields: Any) -> dict[str, Any]:
    view = serializer_view(cls, type("View", (serializers.Serializer,), fields))
    assert view is not None
    return dict(view.hints)


def test_every_field_has_the_type_of_what_it_makes() -> None:
    """x-lightmoon-state tells generators what to expect."""
    found = hints(
        Document,
        yes=serializers.BooleanField(),
        number=serializers.IntegerField(allow_null=True),
        ratio=serializers.FloatField(),
        price=serializers.DecimalField(max_digits=5, decimal_places=2),
        email=serializers.EmailField(),
        at=serializers.DateTimeField(),
        day=serializers.DateField(),
        german=serializers.DateField(format="%d.%m.%Y"),
        took=serializers.DurationField(),
        token=serializers.UUIDField(),
        colour=serializers.ChoiceField(choices=["r", "b"]),
        size=serializers.ChoiceField(choices=[1, 2]),
        attached=serializers.FileField(),
        owner=serializers.PrimaryKeyRelatedField(read_only=True),
        id=serializers.ReadOnlyField(),
        body=serializers.JSONField(),
        names=serializers.ListField(child=serializers.CharField()),
        sizes=serializers.DictField(child=serializers.IntegerField()),
        hidden=serializers.CharField(write_only=True),
    )
    assert found == {
        "yes": bool,
        "number": int | None,
        "ratio": float,
        "price": Decimal,
        "email": str,
        "at": datetime.datetime,
        "day": datetime.date,
        "german": str,
        "took": str,
        "token": uuid.UUID,
        "colour": str,
        "size": int,
        "attached": str | None,
        "owner": int | None,
        "id": int,
        "body": Any,
        "names": list[str],
        "sizes": dict[str, int],
    }


def test_parts_of_json_may_be_nested() -> None:
    """Their source is a column, not a relation."""
    found = hints(Document, body=_Part(), many=_Part(many=True, source="body"))
    assert found["body"].__annotations__ == {"name": str, "size": int}
    assert found["many"].__args__[0].__annotations__ == {"name": str, "size": int}


def test_keys_of_every_kind_of_model_are_known() -> None:
    assert hints(ByOwner, person=serializers.PrimaryKeyRelatedField(read_only=True)) == {"person": int}
    assert hints(Album, title=serializers.ReadOnlyField(), photos=serializers.IntegerField()) == {
        "title": str,
        "photos": int,
    }


def test_openrpc_describes_a_serializers_state() -> None:
    """Proxies are made from the manifest, which holds nothing of the serializer but names and types."""
    shown = manifest.build([registry.schema_of(Bid)])
    state = openrpc.render(shown, "1")["x-lightmoon-state"]["kinds.Bid"]
    assert list(state["properties"]) == ["title", "price", "leader", "ends", "cents", "label"]
    assert state["properties"]["price"] == {"type": "string", "format": "decimal"}
    assert state["properties"]["leader"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert state["properties"]["ends"] == {"type": "string", "format": "date-time"}
    assert state["properties"]["cents"] == {"type": "integer"}
    assert state["properties"]["label"] == {}
