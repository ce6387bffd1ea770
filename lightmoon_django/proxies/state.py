"""The types of the fields that clients mirror."""

from __future__ import annotations

import datetime
import decimal
import typing
import uuid
from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models import Field

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.actor.view import NamedViews, RenderedView, View

# The first base that fits decides, so subclasses of a field have its type.
_HINTS: tuple[tuple[type, Any], ...] = (
    (models.BooleanField, bool),
    (models.IntegerField, int),  # and all automatic and sized ones
    (models.FloatField, float),
    (models.DecimalField, decimal.Decimal),
    (models.DateTimeField, datetime.datetime),
    (models.DateField, datetime.date),
    (models.TimeField, datetime.time),
    (models.DurationField, datetime.timedelta),
    (models.UUIDField, uuid.UUID),
    (models.BinaryField, bytes),
    (models.CharField, str),
    (models.TextField, str),
    (models.FilePathField, str),
    (models.GenericIPAddressField, str),
)


def view_hints(schema: ActorSchema) -> Iterator[tuple[str, Any]]:
    """Name and type hint of each part of the view; `Any` where nothing tells, as for a JSONField."""
    if not schema.view:
        return
    if isinstance(schema.mirror, NamedViews):
        seen: dict[str, Any] = {}
        for name, one in schema.mirror.views.items():
            seen = {**dict(_hints(schema, one, schema.view[name])), **seen}
        yield from seen.items()
    else:
        yield from _hints(schema, schema.mirror, schema.view)


def always_shown(schema: ActorSchema) -> frozenset[str]:
    """The parts of the view that everybody sees."""
    if not schema.view:
        return frozenset()
    if not isinstance(schema.mirror, NamedViews):
        return frozenset(name for name, _ in view_hints(schema))
    views = schema.mirror.views.items()
    return frozenset.intersection(*(frozenset(dict(_hints(schema, one, schema.view[name]))) for name, one in views))


def _hints(schema: ActorSchema, view: View | None, names: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(view, RenderedView):
        yield from view.hints
    elif issubclass(schema.cls, models.Model):
        fields = {name: field for field in schema.cls._meta.concrete_fields for name in (field.attname, field.name)}
        yield from ((name, field_hint(fields[name])) for name in names)
    else:
        hints = typing.get_type_hints(schema.cls, include_extras=True)
        yield from ((name, schema.substitute(hints[name])) for name in names)


def field_hint(field: Field[Any, Any]) -> Any:
    """The type of a column's values; `Any` where it says nothing."""
    target = field
    while target.remote_field is not None:
        target = target.target_field  # type: ignore[attr-defined]
    target = getattr(target, "output_field", target)  # of a generated column
    hint = next((hint for cls, hint in _HINTS if isinstance(target, cls)), Any)
    return hint | None if field.null and hint is not Any else hint
