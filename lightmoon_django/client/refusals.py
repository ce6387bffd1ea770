"""The server's errors as exceptions: of the class that was raised there, where this process has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightmoon_django import errors
from lightmoon_django.errors import LightMoonError, Rejected

_CARRIED = ("retry_after", "path", "cycle", "error_id")


def error_of(found: dict[str, Any]) -> LightMoonError:
    """The exception for a JSON-RPC error object."""
    data = found.get("data") or {}
    slug, number = data.get("type", "internal"), found.get("code", 0)
    carried = {name: data[name] for name in _CARRIED if name in data}
    cls = _class_of(number, slug)
    if "detail" in data:
        carried["data" if issubclass(cls, Rejected) else "detail"] = data["detail"]
    error = errors.revive(cls, str(found.get("message", "")), slug, carried)
    if "retryable" in data:
        error.retryable = bool(data["retryable"])
    return error


def _class_of(number: int, slug: str) -> type[LightMoonError]:
    """The one class that has this number and slug; else the one that stands for the number."""
    family = [cls for cls in _below(LightMoonError) if cls.rpc_code == number]
    exact = [cls for cls in family if cls.__dict__.get("code") == slug]
    if len(exact) == 1:
        return exact[0]
    return family[0] if family else LightMoonError


def _below(cls: type[LightMoonError]) -> Iterator[type[LightMoonError]]:
    """Bases first."""
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)
