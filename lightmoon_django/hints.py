"""Type hints as the codec reads them: exchanging classes, tightening leaves, asking what they mention."""

from __future__ import annotations

import datetime
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

SAFE_INTEGER = 2**53  # beyond it JavaScript's numbers are no longer exact


def strict(hint: Any, *, zoned: bool) -> Any:
    if hint is int:
        return Annotated[int, msgspec.Meta(ge=-SAFE_INTEGER, le=SAFE_INTEGER)]
    if hint is datetime.datetime and zoned:
        return Annotated[datetime.datetime, msgspec.Meta(tz=True)]
    return hint


def rebuild(hint: Any, change: Callable[[Any], Any]) -> Any:
    """The same hint with `change` applied to every leaf."""
    if isinstance(hint, typing.TypeVar):
        return hint
    origin, args = get_origin(hint), get_args(hint)
    if origin is None or origin is typing.Literal:
        return change(hint)
    if origin is Annotated:
        return Annotated[(_plain(args[0], change), *args[1:])]
    inner = tuple(rebuild(arg, change) if arg is not Ellipsis else arg for arg in args)
    if origin is Union or origin is types.UnionType:
        return Union[inner]  # noqa: UP007  (the members are only known here)
    return hint.copy_with(inner) if hasattr(hint, "copy_with") else origin[inner]


def _plain(hint: Any, change: Callable[[Any], Any]) -> Any:
    """Inside `Annotated` the user's own bounds stand; only classes are exchanged."""
    changed = rebuild(hint, change)
    return hint if get_origin(changed) is Annotated else changed


def mentions(hint: Any, wanted: tuple[Any, ...]) -> bool:
    if any(hint is one for one in wanted):
        return True
    if isinstance(hint, type) and (hasattr(hint, "__struct_fields__") or hasattr(hint, "__dataclass_fields__")):
        return True  # its fields may be
    if typing.is_typeddict(hint):
        return True
    return any(mentions(arg, wanted) for arg in get_args(hint))


def admits_none(hint: Any) -> bool:
    return hint is None or hint is type(None) or hint is Any or hint is object or type(None) in get_args(hint)
