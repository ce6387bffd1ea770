"""Values that a hint admits and that are still not to be taken from a client: what they would do harm to comes later.

A database can't hold them, JavaScript reads another number, or they are so deep that only this depth of calls can
still read them.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from lightmoon_django import hints
from lightmoon_django.errors import InvalidParams

DECIMAL_EXPONENT = 1000  # a larger one makes a few bytes into megabytes of digits
NESTING = 200  # levels; a deeper value could be stored from here, and not be loaded where more calls are under way
SUSPECT = (decimal.Decimal, datetime.datetime, Any, object)  # hints whose decoder alone doesn't refuse all of it

_OUTERMOST_YEARS = (1, 9999)


class _Unsafe(Exception):
    """`steps` lead to it, the last one first: a path for every value on the way would cost more than the values."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.steps: list[str] = []


def refuse_unsafe(value: Any, path: str = "$") -> None:
    """Raise `InvalidParams` for what no database or number holds, or what is nested too deeply, inside `value`.

    That is NULs, non-finite or huge decimals, unsafe integers and moments that UTC has no year for.
    """
    try:
        _refuse(value, NESTING)
    except _Unsafe as found:
        path += "".join(reversed(found.steps))
        raise InvalidParams(f"{found} - at `{path}`", path=path) from None


def _refuse(value: Any, room: int) -> None:
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise _Unsafe("A string must not contain NUL")
    elif kind is int:
        if not -hints.SAFE_INTEGER <= value <= hints.SAFE_INTEGER:
            raise _Unsafe("An integer beyond ±2^53 must travel as a string")
    elif kind is decimal.Decimal:
        exponent = value.as_tuple().exponent
        if not isinstance(exponent, int) or abs(exponent) > DECIMAL_EXPONENT:
            raise _Unsafe("A decimal must be finite and of a sensible size")
    elif kind is datetime.datetime:
        if value.tzinfo is not None and value.year in _OUTERMOST_YEARS and not _is_known_to_utc(value):
            raise _Unsafe("A moment must lie in the years 1 to 9999 in UTC too")
    elif isinstance(value, Mapping):
        _refuse_parts(value, "", room)
        _refuse_parts(value.values(), ".{}", room, value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        _refuse_parts(value, "[{}]", room)
    elif hasattr(value, "__struct_fields__"):
        names = value.__struct_fields__
        _refuse_parts((getattr(value, name) for name in names), ".{}", room, names)
    elif hasattr(value, "__dataclass_fields__"):
        names = tuple(value.__dataclass_fields__)
        _refuse_parts((getattr(value, name, None) for name in names), ".{}", room, names)


def _refuse_parts(parts: Iterable[Any], step: str, room: int, names: Iterable[Any] | None = None) -> None:
    """`step` says how a part is named in a path, by its number or the one of `names`."""
    if not room:
        raise _Unsafe("The value is nested too deeply")
    number = 0
    try:
        for part in parts:
            _refuse(part, room - 1)
            number += 1
    except _Unsafe as found:
        name = number if names is None else next(itertools.islice(names, number, None))
        found.steps.append(step.format(name))
        raise


def _is_known_to_utc(moment: datetime.datetime) -> bool:
    try:
        moment.astimezone(datetime.UTC)
    except OverflowError:
        return False
    return True
