"""Checks of names: messages and events that something else of the same name hides, here or in a client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db.models import Model

from lightmoon_django.actor import registry
from lightmoon_django.actor.decorators import Event, Message
from lightmoon_django.actor.ref import Ref
from lightmoon_django.checks import members
from lightmoon_django.proxies.javascript import PROXY_WORDS, STREAM_WORDS

_MODEL_WORDS = frozenset(name for name in dir(Model) if not name.startswith("__")) | {
    *("DoesNotExist", "MultipleObjectsReturned", "NotUpdated", "objects", "lightmoon_key", registry.OWNER_FIELD)
}
_REF_WORDS = frozenset(name for name in dir(Ref) if not name.startswith("_")) | {"actor"}


def check(cls: type) -> Iterator[CheckMessage]:
    """Every message and event, also one that was overwritten while Django built the model."""
    known = {**_lost(cls), **members.found_in(cls)}
    for name, value in sorted(known.items()):
        holder = _holder(cls, name, value)
        if holder is not None:
            kind = "Message" if isinstance(value, Message) else "Event"
            yield Error(
                f"{kind} {cls.__name__}.{name} has the name of {holder}.",
                hint=f"Rename the {kind.lower()}.",
                obj=cls,
                id="lightmoon.E008",
            )


def _holder(cls: type, name: str, value: Any) -> str | None:
    """What has that name already."""
    if issubclass(cls, Model):
        if name in _MODEL_WORDS:
            return "an attribute that every Django model has"
        if name in _accessors(cls):
            return f"the reverse accessor of {_accessors(cls)[name]}; a related_name there helps as well"
        if name in _fields(cls):
            return "a field"
    if isinstance(value, Message):
        if name in _REF_WORDS:
            return "an attribute of refs"
        return "something that proxies in clients have themselves" if name in PROXY_WORDS else None
    return "something that streams in clients tell themselves" if name in STREAM_WORDS else None


def _lost(cls: type) -> dict[str, Any]:
    """Members that were declared in a class's body but aren't on it any more."""
    found: dict[str, Any] = {}
    for one in reversed(cls.__mro__):
        found.update(registry.declared_in(one))
    return {name: value for name, value in found.items() if isinstance(value, (Message, Event))}


def _accessors(cls: type[Model]) -> dict[str, str]:
    found = {}
    for relation in cls._meta.related_objects:
        accessor = relation.get_accessor_name()
        if accessor:
            found[accessor] = f"{relation.related_model.__name__}.{relation.field.name}"
    return found


def _fields(cls: type[Model]) -> set[str]:
    return {name for field in cls._meta.get_fields() for name in (field.name, getattr(field, "attname", field.name))}
