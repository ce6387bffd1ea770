"""The types of what serializer fields make, for the proxies of clients."""

from __future__ import annotations

import datetime
import decimal
import typing
import uuid
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from rest_framework import serializers
from rest_framework.settings import api_settings

from lightmoon_django.proxies.state import field_hint

# The first base that fits decides, so subclasses of a field have its type.
_HINTS: tuple[tuple[type, Any], ...] = (
    (serializers.BooleanField, bool),
    (serializers.IntegerField, int),
    (serializers.FloatField, float),
    (serializers.DecimalField, decimal.Decimal),
    (serializers.DurationField, str),
    (serializers.UUIDField, uuid.UUID),
    (serializers.FileField, str),
    (serializers.IPAddressField, str),
    (serializers.FilePathField, str),
    (serializers.CharField, str),
)
_TIMES: tuple[tuple[type, Any, str], ...] = (
    (serializers.DateTimeField, datetime.datetime, "DATETIME_FORMAT"),
    (serializers.DateField, datetime.date, "DATE_FORMAT"),
    (serializers.TimeField, datetime.time, "TIME_FORMAT"),
)


def hint_of(actor: type, field: Any) -> Any:
    """The type of one field of a serializer over an actor; `Any` where nothing tells."""
    column = _column(actor, field)
    found = _own_hint(actor, field)
    if found is Any and column is not None and not isinstance(field, serializers.SerializerMethodField):
        return field_hint(column)
    nullable = field.allow_null or (column is not None and column.null) or isinstance(field, serializers.FileField)
    return found | None if nullable and found is not Any else found


def _own_hint(actor: type, field: Any) -> Any:
    if isinstance(field, serializers.SerializerMethodField):
        return _returned(getattr(field.parent, str(field.method_name or f"get_{field.field_name}"), None))
    if isinstance(field, serializers.ListSerializer):
        return list[_own_hint(actor, field.child)]  # type: ignore[misc]
    if isinstance(field, serializers.Serializer):
        return _record(actor, field)
    if isinstance(field, serializers.ListField):
        return list[_own_hint(actor, field.child)]  # type: ignore[misc]
    if isinstance(field, serializers.DictField):
        return dict[str, _own_hint(actor, field.child)]  # type: ignore[misc]
    if isinstance(field, serializers.ChoiceField):
        return _common({type(key) for key in field.choices})
    for kind, hint, setting in _TIMES:
        if isinstance(field, kind):
            format = getattr(field, "format", None) or getattr(api_settings, setting)
            return hint if format == "iso-8601" else str
    return next((hint for kind, hint in _HINTS if isinstance(field, kind)), Any)


def _record(actor: type, serializer: Any) -> Any:
    parts = {name: _own_hint(actor, field) for name, field in serializer.fields.items() if not field.write_only}
    return typing.TypedDict(type(serializer).__name__, parts)  # type: ignore[operator]


def _common(kinds: set[type]) -> Any:
    return kinds.pop() if len(kinds) == 1 and kinds <= {str, int} else Any


def _returned(method: Any) -> Any:
    try:
        return typing.get_type_hints(method).get("return", Any)
    except Exception:  # hints that only a type checker can read
        return Any


def _column(actor: type, field: Any) -> Any:
    """The model's own column that the field shows, if it is one."""
    if not issubclass(actor, models.Model) or len(field.source_attrs) != 1:
        return None
    try:
        found = actor._meta.get_field(field.source_attrs[0])
    except FieldDoesNotExist:
        return None
    return found if getattr(found, "concrete", False) and not found.many_to_many else None
