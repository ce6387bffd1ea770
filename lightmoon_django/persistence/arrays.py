"""Columns of values as PostgreSQL array literals, which one `unnest` turns into rows.

Writing the text here is several times faster than adapting each value through the driver, and lets the statement say
the type: texts go in as `text[]` and are assigned to `varchar(n)`, so that a long one is an error and never cut.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from psycopg.types.json import Jsonb

Literal = Callable[[Any], str]

_ELEMENTS = {
    "smallint": "smallint",
    "integer": "integer",
    "bigint": "bigint",
    "boolean": "boolean",
    "double precision": "double precision",
    "numeric": "numeric",
    "text": "text",
    "varchar": "text",
    "char": "text",
    "uuid": "uuid",
    "date": "date",
    "time": "time",
    "timestamp with time zone": "timestamptz",
    "interval": "interval",
    "bytea": "bytea",
    "jsonb": "text",
}


def element_type(column_type: str | None) -> str | None:
    """The array element that carries a column of that type; None where `unnest` can't."""
    if column_type is None:
        return None
    return _ELEMENTS.get(column_type.partition("(")[0].strip())


class NoLiteral(TypeError):
    """Only the driver knows how that value is written."""


def array(values: Iterable[Any]) -> str:
    """An array literal. Raises `NoLiteral` for a value that has no plain text form."""
    return (
        "{"
        + ",".join([_LITERALS[type(value)](value) if type(value) in _LITERALS else _other(value) for value in values])
        + "}"
    )


def integers(values: Iterable[Any]) -> str:
    """The same, for values that are all digits already, or None."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _text(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def _quoted(value: Any) -> str:
    return f'"{value}"'


def _interval(value: datetime.timedelta) -> str:
    return f'"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"'


def _other(value: Any) -> str:
    """Subclasses of plain types, as enumerations of texts or numbers: by the value, however they show themselves."""
    for kind, literal in _SUBCLASSES.items():
        if isinstance(value, kind):
            return literal(value)
    raise NoLiteral(f"{type(value).__name__} has no plain text form.")


_LITERALS: dict[type, Literal] = {
    type(None): lambda value: "NULL",
    int: str,
    bool: lambda value: "t" if value else "f",
    float: repr,
    decimal.Decimal: str,
    str: _text,
    bytes: lambda value: f'"\\\\x{value.hex()}"',
    uuid.UUID: _quoted,
    datetime.datetime: _quoted,
    datetime.date: _quoted,
    datetime.time: _quoted,
    datetime.timedelta: _interval,
}

_SUBCLASSES: dict[type, Literal] = {
    int: lambda value: str(int(value)),
    float: lambda value: repr(float(value)),
    decimal.Decimal: lambda value: str(decimal.Decimal(value)),
    str: lambda value: _text(str.__str__(value)),
    bytes: lambda value: _LITERALS[bytes](bytes(value)),
    uuid.UUID: lambda value: _quoted(uuid.UUID.__str__(value)),
    datetime.datetime: lambda value: _quoted(datetime.datetime.isoformat(value)),
    datetime.date: lambda value: _quoted(datetime.date.isoformat(value)),
    datetime.time: lambda value: _quoted(datetime.time.isoformat(value)),
    datetime.timedelta: _interval,
    Jsonb: lambda value: _text((value.dumps or json.dumps)(value.obj)),
}
