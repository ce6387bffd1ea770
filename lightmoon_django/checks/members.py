"""Checks of messages, events and hooks."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db.models import Model
from django.utils.module_loading import import_string

from lightmoon_django.actor import registry
from lightmoon_django.actor.decorators import Event, Message
from lightmoon_django.actor.schema import RESERVED_PARAMETERS, SchemaError, Signature, contradiction
from lightmoon_django.gateway import policy

_CLOSE = 0.75  # similarity from which a name is taken for a misspelled hook


def check(cls: type) -> Iterator[CheckMessage]:
    """Everything that a class declares."""
    for name, value in found_in(cls).items():
        if name in registry.HOOKS:
            yield _hook_as_message(cls, name)
        elif isinstance(value, Message):
            yield from _message(cls, name, value)
        else:
            yield from _event(cls, name, value)
    yield from _hooks(cls)


def found_in(cls: type) -> dict[str, Message[Any, Any] | Event[Any]]:
    """Messages and events by name, inherited ones too."""
    found = {name: inspect.getattr_static(cls, name, None) for name in dir(cls)}
    return {name: value for name, value in found.items() if isinstance(value, (Message, Event))}


def _message(cls: type, name: str, message: Message[Any, Any]) -> Iterator[CheckMessage]:
    yield from _signature(cls, name, message.function, needs_hints=message.options.exposed, returns=True)
    yield from check_permissions(cls, f"{cls.__name__}.{name}", message.options.permission_classes)
    yield from _options(cls, name, message)
    if message.options.permission_classes is not None and not message.options.exposed:
        yield Warning(
            f"{cls.__name__}.{name} has permission_classes, but no client can send it.",
            hint="Add exposed=True, or leave permission_classes out: Python code is not judged by them.",
            obj=cls,
            id="lightmoon.W003",
        )


def _options(cls: type, name: str, message: Message[Any, Any]) -> Iterator[CheckMessage]:
    wrong = contradiction(
        f"{registry.name_of(cls)}.{name}",
        message.options,
        is_async=inspect.iscoroutinefunction(message.function),
        persistent=issubclass(cls, Model),
    )
    if wrong is not None:
        yield Error(str(wrong), hint=wrong.hint, obj=cls, id="lightmoon.E014")


def _event(cls: type, name: str, event: Event[Any]) -> Iterator[CheckMessage]:
    yield from _signature(cls, name, event.function, needs_hints=True, returns=False)
    yield from check_permissions(cls, f"{cls.__name__}.{name}", event.permission_classes)
    returned = inspect.signature(event.function).return_annotation
    if inspect.iscoroutinefunction(event.function) or returned not in (inspect.Signature.empty, None, "None"):
        yield Error(
            f"Event {cls.__name__}.{name} must be a plain `def` that returns None: its body never runs.",
            hint=f"Write `def {name}(self, …) -> None:` with a docstring as its body.",
            obj=cls,
            id="lightmoon.E006",
        )


def _signature(cls: type, name: str, function: Any, *, needs_hints: bool, returns: bool) -> Iterator[CheckMessage]:
    where = f"{registry.name_of(cls)}.{name}"
    try:
        signature = Signature(where, function, registry.travels_as, zoned=True)
    except SchemaError as error:
        yield Error(str(error), hint=error.hint, obj=cls, id=_kind(function))
        return
    missing = [parameter for parameter in signature.signature.parameters if parameter not in function.__annotations__]
    if returns and "return" not in function.__annotations__:
        missing.append("its result")
    if needs_hints and missing:
        yield Error(
            f"{where} is open to clients but has no type hints for: {', '.join(missing)}.",
            hint="Add the hints: what clients send is checked against them. Use `-> None` for no result.",
            obj=cls,
            id="lightmoon.E005",
        )


def _kind(function: Any) -> str:
    """Which of its faults a signature has."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters):
        return "lightmoon.E003"
    if any(one.name in RESERVED_PARAMETERS or one.name.startswith("_") for one in parameters):
        return "lightmoon.E002"
    try:
        inspect.get_annotations(function, eval_str=True)
    except Exception:
        return "lightmoon.E004"
    return "lightmoon.E001"


def check_permissions(cls: type, where: str, classes: Iterable[Any] | None) -> Iterator[CheckMessage]:
    """Whether permission classes can be found and judge anything."""
    for one in classes or ():
        reason = _unable(one)
        if reason is not None:
            yield Error(
                f"{where} has a permission class that can't be used: {reason}",
                hint="Name classes of rest_framework.permissions, or your own with has_permission(request, view).",
                obj=cls,
                id="lightmoon.E011",
            )


def _unable(given: Any) -> str | None:
    """Why it can't judge, if it can't. One that is composed, as `IsAuthenticated & IsAdminUser`, has parts that can."""
    try:
        permission = import_string(given) if isinstance(given, str) else given
    except (ImportError, ValueError) as error:
        return str(error)
    parts = [getattr(permission, name) for name in ("op1_class", "op2_class") if hasattr(permission, name)]
    for part in parts:
        if (reason := _unable(part)) is not None:
            return reason
    if not parts and not (callable(permission) and hasattr(permission, "has_permission")):
        return f"{permission!r} is no class with has_permission()."
    mistake = policy.mistake_of(permission())
    return mistake and f"it is {mistake}."


def _hook_as_message(cls: type, name: str) -> CheckMessage:
    return Error(
        f"{cls.__name__}.{name} is a lifecycle hook and can't be sent as well.",
        hint=f"Remove the decorator from {name}: LightMoon calls it by itself.",
        obj=cls,
        id="lightmoon.E009",
    )


def _hooks(cls: type) -> Iterator[CheckMessage]:
    for name in dir(cls):
        value = inspect.getattr_static(cls, name, None)
        if not isinstance(value, types.FunctionType) or not name.startswith("on_"):
            continue
        if name in registry.HOOKS:
            yield from _hook(cls, name, value)
        elif close := difflib.get_close_matches(name, registry.HOOKS, 1, _CLOSE):
            yield Warning(
                f"{cls.__name__}.{name} is never called.",
                hint=f"Did you mean {close[0]}? The hooks are: {', '.join(registry.HOOKS)}.",
                obj=cls,
                id="lightmoon.W001",
            )


def _hook(cls: type, name: str, function: types.FunctionType) -> Iterator[CheckMessage]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(parameter.default is inspect.Parameter.empty for parameter in parameters):
        yield Error(
            f"{cls.__name__}.{name} takes parameters, but is called without any.",
            hint=f"Write `async def {name}(self) -> None:`. Who it is about stands in `turn`: turn.user, turn.caller.",
            obj=cls,
            id="lightmoon.E010",
        )
