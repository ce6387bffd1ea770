"""The manifest: what clients may know of the actors, as plain values.

It holds exposed messages, events and view fields, and nothing of the classes behind them. Every generator reads it,
and nothing else, so that no generator can leak more than another.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from lightmoon_django import codec
from lightmoon_django.actor import registry
from lightmoon_django.actor.ref import Ref
from lightmoon_django.actor.schema import ActorSchema, EventSchema, MessageSchema, Signature
from lightmoon_django.proxies.state import always_shown, view_hints

PROTOCOL = 1

JsonSchema = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A named, typed value: a parameter, a part of an event's data, a field of the view."""

    name: str
    schema: JsonSchema
    required: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that clients may send."""

    name: str
    doc: str
    parameters: tuple[Value, ...]
    result: JsonSchema


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event that subscribers receive."""

    name: str
    doc: str
    data: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One actor class as clients see it. Its wire name is `label.name`."""

    label: str
    name: str
    doc: str
    messages: tuple[Message, ...]
    events: tuple[Event, ...]
    state: tuple[Value, ...]

    @property
    def wire_name(self) -> str:
        return f"{self.label}.{self.name}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All actors that clients can reach, in wire-name order, and the named JSON Schemas that their types refer to."""

    actors: tuple[Actor, ...]
    definitions: dict[str, JsonSchema]

    @property
    def schema_hash(self) -> str:
        """The same for equal names and types, in every process; documentation doesn't count."""
        text = json.dumps(_without_docs(dataclasses.asdict(self)), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{PROTOCOL}{text}".encode()).hexdigest()[:16]


def manifest() -> Manifest:
    """The manifest of the installed apps' actors. Raises `SchemaError` for an actor that is declared wrongly."""
    return _built(tuple(registry.registered()))[0]


def schema_hash() -> str:
    """What `lm.hello` compares: a client generated from another schema must reload."""
    return _built(tuple(registry.registered()))[1]


@functools.lru_cache(maxsize=1)
def _built(classes: tuple[type, ...]) -> tuple[Manifest, str]:
    found = build([registry.schema_of(cls) for cls in classes])
    return found, found.schema_hash


def build(schemas: Iterable[ActorSchema]) -> Manifest:
    """The manifest of these actors; those that clients have no use for are left out."""
    shapes = _Shapes()
    actors = [_actor(schema, shapes) for schema in schemas if schema.reachable]
    return Manifest(actors=tuple(actors), definitions=shapes.settle())


class _Shapes:
    """Collects hints, so that all are described in one pass and share their named schemas."""

    def __init__(self) -> None:
        self._hints: list[Any] = []
        self._schemas: list[JsonSchema] = []

    def add(self, hint: Any) -> JsonSchema:
        """The hint's schema, empty until `settle`."""
        self._hints.append(hint)
        self._schemas.append({})
        return self._schemas[-1]

    def settle(self) -> dict[str, JsonSchema]:
        """Fill in every schema; the named ones are returned."""
        described, definitions = codec.json_schemas(self._hints, _describe)
        for schema, found in zip(self._schemas, described, strict=True):
            schema.update(found)
        return definitions


def _describe(cls: type) -> JsonSchema:
    if issubclass(cls, Ref):
        return {"type": "string", "x-lightmoon-actor": registry.name_of(cls.actor)}
    raise NotImplementedError


def _actor(schema: ActorSchema, shapes: _Shapes) -> Actor:
    label, _, name = schema.name.rpartition(".")
    shown = always_shown(schema)
    return Actor(
        label=label,
        name=name,
        doc=_own_doc(schema.cls),
        messages=tuple(_message(message, shapes) for _, message in sorted(schema.exposed.items())),
        events=tuple(_event(event, shapes) for _, event in sorted(schema.events.items())),
        state=tuple(
            Value(name=name, schema=shapes.add(hint), required=name in shown) for name, hint in view_hints(schema)
        ),
    )


def _message(message: MessageSchema, shapes: _Shapes) -> Message:
    return Message(
        name=message.name,
        doc=message.doc,
        parameters=_values(message.signature, shapes),
        result=shapes.add(message.signature.returns.hint),
    )


def _event(event: EventSchema, shapes: _Shapes) -> Event:
    return Event(name=event.name, doc=event.doc, data=_values(event.signature, shapes))


def _values(signature: Signature, shapes: _Shapes) -> tuple[Value, ...]:
    return tuple(
        Value(name=name, schema=shapes.add(hint), required=required)
        for name, hint, required in signature.arguments.parameters()
    )


def _own_doc(cls: type) -> str:
    doc = (cls.__dict__.get("__doc__") or "").strip()
    return "" if doc.startswith(f"{cls.__name__}(") else doc  # Django writes the field names of a model without one


def _without_docs(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_docs(item) for key, item in value.items() if key not in ("doc", "description")}
    if isinstance(value, (list, tuple)):
        return [_without_docs(item) for item in value]
    return value
