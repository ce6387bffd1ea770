"""Which classes are actors, and the schema of each, built at first use when all models are loaded."""

from __future__ import annotations

import functools
import inspect
import threading
import typing
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.db.models import Field, Model
from django.utils.module_loading import import_string

from lightmoon_django.actor import placement, reminder, view
from lightmoon_django.actor.schema import (
    ActorOptions,
    ActorSchema,
    EventSchema,
    MessageSchema,
    Options,
    SchemaError,
    TimerSchema,
)
from lightmoon_django.errors import InvalidParams, UsageError

OWNER_FIELD = "lightmoon_owner"
HOOKS = ("on_activate", "on_deactivate", "on_subscribe", "on_unsubscribe")
PASS = "pass-over"  # the system message whose turn does nothing
INHERIT = "inherit-answers"  # the system message with what an earlier activation remembers; it has no turn
KEY_LIMIT = 255  # characters of a memory-only actor's key, and of those keys that are remembered as good ones
KEYS_KNOWN = 16_384  # keys of one class

_registered: dict[type, ActorOptions] = {}
_refs: dict[type, type] = {}
_schemas: dict[type, ActorSchema] = {}
_named: dict[str, type] = {}  # by wire name, those that were asked for
_declared: weakref.WeakKeyDictionary[type, dict[str, Any]] = weakref.WeakKeyDictionary()
_lock = threading.RLock()


def register(cls: type, options: ActorOptions, ref_class: type) -> None:
    """Note that `cls` is an actor. Its schema is built later, when its hints can be read."""
    _registered[cls] = options
    _refs[cls] = ref_class
    _named.clear()


def declare(owner: type, name: str, member: Any) -> None:
    """Note a message or event that the body of `owner` holds. Django may replace it there before anybody looks."""
    _declared.setdefault(owner, {})[name] = member


def declared_in(owner: type) -> Mapping[str, Any]:
    """The messages and events in the body of a class, by name, without inherited ones."""
    return _declared.get(owner, {})


def is_actor(cls: object) -> bool:
    return cls in _registered if isinstance(cls, type) else False


def options_of(cls: type) -> ActorOptions:
    return _registered[cls]


def ref_class_of(cls: type) -> type:
    """The class of refs to `cls`. Raises `UsageError` for a class that is no actor."""
    found = _refs.get(cls)
    if found is None:
        raise UsageError(f"{cls.__qualname__} is not an actor. Decorate the class with @actor.")
    return found


def schema_of(cls: type) -> ActorSchema:
    """The schema of an actor class. Raises `SchemaError` for a wrong declaration, `UsageError` for no actor."""
    found = _schemas.get(cls)
    return found if found is not None else _build(cls)


def by_name(name: str) -> ActorSchema | None:
    """The schema with that wire name, or None."""
    found = _named.get(name)
    if found is None or found not in _registered:
        found = next((cls for cls in _registered if name_of(cls) == name), None)
        if found is None:
            return None
        _named[name] = found
    return _schemas.get(found) or schema_of(found)


def registered() -> Iterator[type]:
    """All actor classes that are part of an installed app, in wire-name order."""
    return iter(sorted(_registered, key=name_of))


def name_of(cls: type) -> str:
    """The wire name, `app_label.Class`."""
    meta = getattr(cls, "_meta", None)
    if meta is not None:
        return f"{meta.app_label}.{cls.__name__}"
    app = apps.get_containing_app_config(cls.__module__)
    label = app.label if app is not None else cls.__module__.rpartition(".")[2]
    return f"{label}.{cls.__name__}"


def _build(cls: type) -> ActorSchema:
    with _lock:
        if cls in _schemas:
            return _schemas[cls]
        options = _registered.get(cls)
        if options is None:
            raise UsageError(f"{cls.__qualname__} is not an actor. Decorate the class with @actor.")
        wrong = placement.mistake(name_of(cls), options.placement)
        if wrong is not None:
            raise wrong
        schema = ActorSchema(
            cls=cls,
            name=name_of(cls),
            persistent=issubclass(cls, Model),
            fields=_fields(cls),
            options=options,
            keys=_model_key(cls._meta.pk) if issubclass(cls, Model) else _memory_key,
            substitute=travels_as,
            zoned=django_settings.USE_TZ,
        )
        schema.ref_class = _refs[cls]
        schema.permission_classes = _permissions(options.permission_classes)
        schema.subscription_permission_classes = _permissions(options.subscription_permission_classes)
        schema.mirror = _view(cls, schema)
        _add_methods(schema)
        _schemas[cls] = schema
        return schema


def _permissions(classes: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if classes is None:
        return None
    return tuple(import_string(one) if isinstance(one, str) else one for one in classes)


def _fields(cls: type) -> tuple[str, ...]:
    if issubclass(cls, Model):
        return tuple(field.attname for field in cls._meta.concrete_fields if field.name != OWNER_FIELD)
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(name for name, hint in hints.items() if typing.get_origin(hint) is not typing.ClassVar)


def _view(cls: type, schema: ActorSchema) -> view.View | None:
    schema.view_for = _view_for(cls, schema)
    if not schema.view:
        return None
    if isinstance(schema.view, dict):
        return view.NamedViews(schema.name, {name: _one_view(cls, schema, one) for name, one in schema.view.items()})
    return _one_view(cls, schema, schema.view)


def _view_for(cls: type, schema: ActorSchema) -> Callable[..., Any] | None:
    """The method that tells what somebody sees. Raises `SchemaError` where it and the view don't fit."""
    found = inspect.getattr_static(cls, "view_for", None)
    declared = inspect.isfunction(found) and bool(schema.view)
    if declared and isinstance(schema.view, tuple):
        raise SchemaError(
            f"{schema.name} has view_for(), but its view is one list of fields, which all see alike.",
            "Name several, view={'guest': ['title'], 'staff': ['title', 'reserve']}, or name a serializer class.",
        )
    if declared and inspect.iscoroutinefunction(found):
        raise SchemaError(
            f"{schema.name}.view_for is `async def`, but it is called while a view is made.",
            "Write `def view_for(self, user)`, which looks at the actor's own fields and at the user.",
        )
    if isinstance(schema.view, dict) and not declared:
        raise SchemaError(
            f"{schema.name} has several views, and nothing says who sees which.",
            "Add `def view_for(self, user)` that returns the name of one.",
        )
    return found if declared else None


def _one_view(cls: type, schema: ActorSchema, given: Any) -> view.View:
    if not isinstance(given, (tuple, list)):
        return view.of_class(cls, schema.name, _imported(schema.name, given))
    attributes = {name: name for name in schema.fields}
    if issubclass(cls, Model):
        attributes.update((field.name, field.attname) for field in cls._meta.concrete_fields)
    unknown = [name for name in given if name not in attributes or attributes[name] == OWNER_FIELD]
    if unknown:
        raise SchemaError(
            f"{schema.name} has a view of fields that it doesn't have: {', '.join(map(str, unknown))}.",
            f"Its fields are: {', '.join(schema.fields)}.",
        )
    return view.FieldView((name, schema.fields.index(attributes[name])) for name in given)


def _imported(name: str, given: Any) -> Any:
    """What a dotted path names; anything else itself."""
    if not isinstance(given, str) or "." not in given:
        return given
    try:
        return import_string(given)
    except ImportError as error:
        raise SchemaError(f"The view of {name} can't be imported: {error}", "Correct the dotted path.") from error


def _add_methods(schema: ActorSchema) -> None:
    from lightmoon_django.actor.decorators import Event, Message
    from lightmoon_django.actor.timer import Timer

    messages, events = {}, {}
    for name in dir(schema.cls):
        found = inspect.getattr_static(schema.cls, name, None)
        if isinstance(found, Message):
            messages[name] = MessageSchema(schema, name, found.function, found.options)
            messages[name].permission_classes = _permissions(messages[name].permission_classes)
        elif isinstance(found, Event):
            events[name] = EventSchema(schema, name, found.function, _permissions(found.permission_classes))
        elif isinstance(found, Timer):
            tick = MessageSchema(schema, name, found.function, Options())
            schema.timers[name] = TimerSchema(message=tick, period=found.period)
        elif name in HOOKS and callable(found):
            schema.hooks[name] = found
    schema.finish(messages, events)
    setting = MessageSchema(schema, reminder.SET, reminder.set_reminder, Options())
    setting.creates = False
    schema.system[setting.name] = setting
    for name, function in ((PASS, _pass), (INHERIT, _inherit)):
        schema.system[name] = MessageSchema(schema, name, function, Options())
        schema.system[name].creates = False


async def _pass(self: Any) -> None:
    """The body of a turn that only moves a reminder on."""


async def _inherit(self: Any, answers: list[tuple[bytes, bytes, bytes]]) -> None:
    """Only its parameter counts: `runtime.repeats` takes it in."""


def travels_as(hint: Any) -> Any:
    """What stands for a hint when it is sent: the ref of an actor class, anything else itself."""
    return _refs.get(hint, hint) if isinstance(hint, type) else hint


def _model_key(field: Field[Any, Any]) -> Callable[[object], str]:
    """Keys in the form that the field renders. Those that were good lately are known, as validators cost more."""
    canonical = _rendered_by(field)
    known = functools.lru_cache(KEYS_KNOWN, typed=True)(canonical)

    def key_of(key: object) -> str:
        short = type(key) is int or (type(key) is str and len(key) <= KEY_LIMIT)
        return known(key) if short else canonical(key)

    return key_of


def _rendered_by(field: Field[Any, Any]) -> Callable[[object], str]:
    while field.remote_field is not None:  # multi-table inheritance: the child's key is the parent's
        field = field.target_field  # type: ignore[attr-defined]

    def canonical(key: object) -> str:
        try:
            value = field.to_python(key)
            field.run_validators(value)
        except (ValidationError, ValueError, TypeError, OverflowError) as error:
            raise _bad_key(key, field) from error
        rendered = str(value)
        if value is None or not rendered or (isinstance(key, str) and rendered != key) or "\x00" in rendered:
            raise _bad_key(key, field)
        return rendered

    return canonical


def _bad_key(key: object, field: Field[Any, Any]) -> InvalidParams:
    return InvalidParams(
        f"{str(key)[:100]!r} is not a key in the form that {field.model.__name__}.{field.name} renders it.",
        path="$.key",
    )


def _memory_key(key: object) -> str:
    if not isinstance(key, str):
        key = str(key)
    if not key or len(key) > KEY_LIMIT or "\x00" in key:
        raise InvalidParams(f"A key is a text of 1 to {KEY_LIMIT} characters without NUL.", path="$.key")
    return key
