"""A DRF serializer class as an actor's view.

It runs on the event loop, where a query would hold up everybody. Fields that can't do without one are refused when
the actor is declared; a query that only shows when it is sent makes the subscription fail, with what to do about it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import models
from rest_framework import relations, serializers
from rest_framework.utils.encoders import JSONEncoder

from lightmoon_django.actor import registry
from lightmoon_django.actor.schema import SchemaError
from lightmoon_django.actor.view import RenderedView, State
from lightmoon_django.contrib.rest_framework.serializer_hints import hint_of
from lightmoon_django.errors import UsageError

REMEDY = (
    "Keep what clients mirror in a field of the actor, let them fetch the rest by an exposed message, or use a "
    "PrimaryKeyRelatedField, which needs no query."
)

_QUERYING = (
    relations.ManyRelatedField,
    relations.SlugRelatedField,
    relations.StringRelatedField,
    relations.HyperlinkedRelatedField,
)


def serializer_view(actor: type, given: type) -> RenderedView | None:
    """The view of a serializer class; None for other classes. Raises `SchemaError` for one that needs the database."""
    if not issubclass(given, serializers.Serializer):
        return None
    name = registry.name_of(actor)
    serializer = given()
    parts = [(part, field) for part, field in serializer.fields.items() if not field.write_only]
    if not parts:
        raise SchemaError(f"The view {given.__name__} of {name} has no fields to read.", "Give it some.")
    for part, field in parts:
        reason = _needs_query(actor, field)
        if reason is not None:
            raise SchemaError(f"The view {given.__name__} of {name} has {part}, {reason}.", REMEDY)
    return RenderedView(_Renderer(name, serializer), [(part, hint_of(actor, field)) for part, field in parts])


class _Renderer:
    """One serializer for all states of one actor class: building one costs more than using it."""

    def __init__(self, name: str, serializer: serializers.Serializer[Any]) -> None:
        self._name = name
        self._serializer = serializer

    def __call__(self, instance: Any, viewer: Any = None) -> State:
        self._serializer.instance = instance
        self._serializer._context = {"viewer": viewer}
        try:
            # As DRF would render it: lazy texts, and whatever else only its own encoder knows, become plain values.
            text = json.dumps(self._serializer.to_representation(instance), cls=JSONEncoder)
        except SynchronousOnlyOperation as error:
            view = type(self._serializer).__name__
            raise UsageError(
                f"The view {view} of {self._name} asked the database. It is computed on the event loop, from the "
                f"actor's own fields alone. {REMEDY}"
            ) from error
        finally:
            self._serializer.instance = None
        found: State = json.loads(text)
        return found


def _needs_query(actor: type, field: serializers.Field[Any, Any, Any, Any]) -> str | None:
    """Why it can't be read from the actor's own columns, as far as its declaration says."""
    if isinstance(field, _QUERYING):
        return f"a {type(field).__name__}, which asks the database"
    relation = _relation(actor, field)
    if relation is None or isinstance(field, relations.PrimaryKeyRelatedField):
        return None
    if isinstance(field, serializers.BaseSerializer) or len(field.source_attrs) > 1:
        return f"which follows the relation {relation} and asks the database"
    return None


def _relation(actor: type, field: serializers.Field[Any, Any, Any, Any]) -> str | None:
    """The relation of the model that the field's source begins with."""
    if issubclass(actor, models.Model) and field.source_attrs:
        first = field.source_attrs[0]
        if first in set(_relations(actor)):
            return first
    return None


def _relations(model: type[models.Model]) -> Iterator[str]:
    for field in model._meta.get_fields():
        if field.is_relation:
            yield field.name
            accessor = getattr(field, "get_accessor_name", None)
            if accessor is not None and accessor():
                yield accessor()
