"""What one field's values are in a snapshot, in an instance and on their way to the database.

Everything here is compiled once per field, because it runs on the event loop for every changed value.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import json
from collections.abc import Callable
from typing import Any, TypeAlias

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import format_number

AnyField: TypeAlias = "models.Field[Any, Any]"
Convert = Callable[[Any], Any]

_SCALARS = (
    models.AutoField,
    models.BooleanField,
    models.CharField,
    models.DateField,
    models.DecimalField,
    models.DurationField,
    models.FilePathField,
    models.FloatField,
    models.GenericIPAddressField,
    models.IntegerField,
    models.IPAddressField,
    models.TextField,
    models.TimeField,
    models.UUIDField,
)


_PLAIN = (models.BooleanField, models.CharField, models.FloatField, models.IntegerField, models.TextField)


def root(field: AnyField) -> AnyField:
    """The field whose values a foreign key carries; the field itself when it is none."""
    while field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]
    return field


def _carrier(field: AnyField) -> AnyField:
    """The field that says what kind of values these are."""
    field = root(field)
    output: AnyField | None = getattr(field, "output_field", None) if field.generated else None
    return field if output is None else output


_JSON_STEPS = ("from_db_value", "to_python", "get_prep_value", "get_db_prep_value", "get_db_prep_save")


def is_json(field: AnyField) -> bool:
    """Whether its values are documents as Django's own field has them: also of a subclass that converts nothing."""
    kind, plain = type(field), models.JSONField
    return isinstance(field, plain) and all(getattr(kind, step) is getattr(plain, step) for step in _JSON_STEPS)


def freezer(field: AnyField) -> Convert | None:
    """How an instance's value becomes part of a snapshot. None: as it is, because nothing can change inside it."""
    field = _carrier(field)
    if is_json(field):
        return _json_freezer(field)
    if isinstance(field, models.FileField):
        return _file_name
    if type(field) is models.BinaryField:
        return _bytes
    return None if _is_scalar(field) else copy.deepcopy


def thawer(field: AnyField) -> Convert | None:
    """The way back. None: as it is."""
    field = _carrier(field)
    if is_json(field):
        return _json_thawer(field)
    if isinstance(field, (models.FileField, models.BinaryField)) or _is_scalar(field):
        return None
    return copy.deepcopy


def _is_scalar(field: AnyField) -> bool:
    kind = type(field)
    return (
        isinstance(field, _SCALARS)
        and not hasattr(kind, "from_db_value")
        and kind.to_python.__module__.startswith("django.db.models.")
    )


def _json_freezer(field: Any) -> Convert:
    encode = (field.encoder or json.JSONEncoder)().encode
    return lambda value: None if value is None else encode(value)


def _json_thawer(field: Any) -> Convert:
    decode = (field.decoder or json.JSONDecoder)().decode
    return lambda text: None if text is None else decode(text)


def _file_name(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "name", value) or "")


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def normalizer(field: AnyField) -> Convert | None:
    """What a value must become in memory so that it equals what is read back. None: nothing to do.

    PostgreSQL rounds decimals to the column's scale, SQLite keeps what it gets: rounding here makes them agree.
    Times are read back in UTC; in a zone with summer time two that differ would be equal to Python.
    """
    field = root(field)
    if isinstance(field, models.DecimalField):
        return _decimal_normalizer(field)
    if isinstance(field, models.DateTimeField) and _is_scalar(field):
        return _in_utc
    return None


def _in_utc(value: Any) -> Any:
    if type(value) is datetime.datetime and value.tzinfo is datetime.UTC:
        return value
    aware = isinstance(value, datetime.datetime) and value.tzinfo is not None
    return value.astimezone(datetime.UTC) if aware else value


def _decimal_normalizer(field: models.DecimalField[Any, Any]) -> Convert:
    digits, places = field.max_digits, field.decimal_places
    exponent = None if places is None else decimal.Decimal(1).scaleb(-places)
    context = decimal.Context(prec=digits or 131_072, rounding=decimal.ROUND_HALF_UP)

    def normalize(value: Any) -> Any:
        number = field.to_python(value)
        if number is None:
            return None
        if not number.is_finite():
            raise ValueError(f"{field.name}: {number} is not a finite number.")
        try:
            return number if exponent is None else number.quantize(exponent, context=context)
        except decimal.InvalidOperation as error:
            raise ValueError(
                f"{field.name}: {number} has more than {digits} digits ({places} decimal places)."
            ) from error

    return normalize


def reader(field: AnyField) -> Convert | None:
    """What is read back of a value that was sent, where that differs only if something else was assigned.

    As 2 of 2.5 for a column of integers. None where the database has a form of its own, or `normalizer` knows.
    """
    field = root(field)
    if not _is_scalar(field) or not isinstance(field, _PLAIN):
        return None
    return field.to_python


def preparer(field: AnyField, connection: BaseDatabaseWrapper) -> Convert:
    """How a snapshot's value becomes what the database is sent. Raises for what the column can't hold.

    JSON travels as text; see `Table.placeholder` for the cast.
    """
    prepare = _preparer(root(field), field, connection)
    nullable, name = field.null, field.name

    def checked(value: Any) -> Any:
        if value is not None:
            if hasattr(value, "resolve_expression"):
                raise TypeError(f"{name} is an expression; a turn stores values. Read the value and compute with it.")
            value = prepare(value)
        if value is None and not nullable:
            raise ValueError(f"{name} can't be None: its column has NOT NULL.")
        return value

    return checked


def _preparer(kind: AnyField, field: AnyField, connection: BaseDatabaseWrapper) -> Convert:
    def generic(value: Any) -> Any:
        return _checked_text(field.name, field.get_db_prep_save(value, connection))

    if is_json(kind):
        return _json_preparer(field.name)
    if not _is_scalar(kind) and not isinstance(kind, models.FileField):
        return generic
    if isinstance(kind, (models.IntegerField, models.AutoField)):
        return _integer_preparer(kind, field, connection, generic)
    if isinstance(kind, (models.CharField, models.FileField, models.FilePathField)):
        return _text_preparer(field.name, kind.max_length, generic)
    if isinstance(kind, models.TextField):
        return _text_preparer(field.name, None, generic)
    if isinstance(kind, models.DecimalField):
        return _decimal_preparer(kind, generic)
    if isinstance(kind, models.FloatField) and connection.vendor == "sqlite":
        return _float_preparer(field.name, generic)
    return generic


def _integer_preparer(kind: AnyField, field: AnyField, connection: BaseDatabaseWrapper, generic: Convert) -> Convert:
    low, high = connection.ops.integer_field_range(kind.get_internal_type())
    low = -(2**63) if low is None else low
    high = 2**63 - 1 if high is None else high
    plain = type(kind).get_prep_value.__module__.startswith("django.db.models.")

    def prepare(value: Any) -> Any:
        number = value if plain and type(value) is int else generic(value)
        if number is not None and not low <= number <= high:
            raise ValueError(f"{field.name}: {number} is not between {low} and {high}.")
        return number

    return prepare


def _text_preparer(name: str, limit: int | None, generic: Convert) -> Convert:
    def prepare(value: Any) -> Any:
        text = generic(value)
        if limit is not None and text is not None and len(text) > limit:
            raise ValueError(f"{name}: a text of {len(text)} characters is longer than max_length={limit}.")
        return text

    return prepare


def _decimal_preparer(kind: models.DecimalField[Any, Any], generic: Convert) -> Convert:
    def prepare(value: Any) -> Any:
        try:
            format_number(value, kind.max_digits, kind.decimal_places)
            return generic(value)
        except decimal.InvalidOperation as error:
            raise ValueError(f"{kind.name}: {value} doesn't fit {kind.max_digits} digits.") from error

    return prepare


def _float_preparer(name: str, generic: Convert) -> Convert:
    def prepare(value: Any) -> Any:
        number = generic(value)
        if number != number:
            raise ValueError(f"{name}: SQLite would store NaN as NULL.")
        return number

    return prepare


def _checked_text(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError(f"{name}: a text can't contain NUL.")
        if not value.isascii():
            value.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
    return value


def _json_preparer(name: str) -> Convert:
    def prepare(text: str) -> str:
        if "\\u" in text or "NaN" in text or "Infinity" in text:
            _check_json(name, json.loads(text, parse_constant=_refuse_constant))
        elif not text.isascii():
            text.encode()
        return text

    return prepare


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON.")


def _check_json(name: str, value: Any) -> None:
    if isinstance(value, str):
        _checked_text(name, value)
    elif isinstance(value, dict):
        for key, one in value.items():
            _checked_text(name, key)
            _check_json(name, one)
    elif isinstance(value, list):
        for one in value:
            _check_json(name, one)


def sets_itself(field: AnyField) -> bool:
    """Whether an update gives the field a value of its own, as `auto_now` does."""
    return bool(getattr(field, "auto_now", False))


def has_own_pre_save(field: AnyField) -> bool:
    """Whether saving the field runs code that isn't plain Django's."""
    known = (models.Field, models.DateField, models.DateTimeField, models.TimeField)
    return all(type(field).pre_save is not kind.pre_save for kind in known)
