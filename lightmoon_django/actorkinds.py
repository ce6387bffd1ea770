"""Actor classes as the Python client reads them, in a process that has them."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

from lightmoon_django import codec
from lightmoon_django.actor import registry
from lightmoon_django.actor.ref import Ref
from lightmoon_django.actor.schema import ActorSchema, MessageSchema
from lightmoon_django.errors import InvalidParams, UpgradeNeeded, UsageError
from lightmoon_django.kinds import Kind, Reference
from lightmoon_django.proxies.state import view_hints

ASIDE = frozenset({"presence", "reset"})  # what a client tells besides events

Shapes = dict[str, codec.Shape]


@functools.cache
def kind_of(actor: type, reference: Reference) -> Kind:
    """Raises `UsageError` for a class that is no actor."""
    return ActorKind(registry.schema_of(actor), reference)


class ActorKind:
    """See `kinds.Kind`. Hints are read at their first use."""

    def __init__(self, schema: ActorSchema, reference: Reference) -> None:
        self.name = schema.name
        self.messages = frozenset(schema.messages)
        self._schema = schema
        self._reference = reference
        self._results: Shapes = {}
        self._events: dict[str, Shapes] = {}

    @functools.cached_property
    def ref(self) -> type:
        return self._reference(self)

    def canonical(self, key: object) -> str:
        return self._schema.keys(key)

    def bind(self, message: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(self._message(message).signature.signature.bind(*args, **kwargs).arguments)

    def _message(self, name: str) -> MessageSchema:
        found = self._schema.exposed.get(name)
        if found is None:
            why = "doesn't expose" if name in self.messages else "has no"
            raise UsageError(
                f"{self.name} {why} a message {name!r}. Clients reach those that are declared with "
                f"@message(exposed=True): {', '.join(sorted(self._schema.exposed)) or 'none'}."
            )
        return found

    def result(self, message: str, value: Any) -> Any:
        if message not in self._results:
            self._results[message] = self._shape(self._message(message).signature.returns.hint)
        return self._read(self._results[message], value, f"{self.name}.{message}")

    def data(self, event: str, value: dict[str, Any]) -> dict[str, Any]:
        if event not in self._events:
            found = self._schema.events.get(event)
            parameters = found.signature.arguments.parameters() if found is not None else ()
            self._events[event] = {name: self._shape(hint) for name, hint, _ in parameters}
        return self._read_all(self._events[event], value, event)

    def state(self, value: dict[str, Any]) -> dict[str, Any]:
        return self._read_all(self._shown, value, "its state")

    @functools.cached_property
    def _shown(self) -> Shapes:
        return {name: self._shape(hint) for name, hint in view_hints(self._schema)}

    def check_events(self, names: Collection[str]) -> None:
        unknown = sorted(set(names) - self._schema.events.keys() - ASIDE)
        if unknown:
            raise UsageError(
                f"{self.name} has no event {unknown[0]!r}. Events are: {', '.join(self._schema.events) or 'none'}."
            )

    def _shape(self, hint: Any) -> codec.Shape:
        return codec.Shape(hint, self._sent, zoned=self._schema.zoned)

    def _sent(self, hint: Any) -> Any:
        """A ref that the server sends is a ref to that server's actor, and not to one here."""
        if isinstance(hint, type) and issubclass(hint, Ref):
            return kind_of(hint.actor, self._reference).ref
        return hint

    def _read_all(self, shapes: Shapes, value: dict[str, Any], what: str) -> dict[str, Any]:
        return {
            name: self._read(shapes[name], part, f"{name!r} of {what} of {self.name}") if name in shapes else part
            for name, part in value.items()
        }

    def _read(self, shape: codec.Shape, value: Any, what: str) -> Any:
        try:
            return shape.from_wire(codec.encode_json(value))
        except InvalidParams as error:
            raise UpgradeNeeded(
                f"The server's {what} is not what its hint says here: {error.message}. It has another version of the "
                "class than this process."
            ) from error
