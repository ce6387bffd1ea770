"""What clients mirror of an actor: some of its fields, or what a serializer makes of all of them.

A view is computed on the event loop from a snapshot of the fields, when the turn that made the snapshot is durable.
So it may ask neither the database nor anything else that takes its time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from lightmoon_django.actor.schema import SchemaError
from lightmoon_django.errors import UsageError

Snapshot = tuple[Any, ...]
State = dict[str, Any]


class Fields(Protocol):
    """What a view needs of an actor's columns; see `persistence.store.Columns`."""

    def make(self, snapshot: Snapshot, key: str) -> Any: ...

    def value(self, snapshot: Snapshot, position: int) -> Any: ...


class View(Protocol):
    """The view of one actor class. Either method raises what serializing raises."""

    def state(self, fields: Fields, snapshot: Snapshot, key: str) -> State:
        """All of it, by name."""

    def state_as(self, viewer: Any, fields: Fields, snapshot: Snapshot, key: str) -> State:
        """Likewise, as somebody sees it for whom the actor's `view_for` gave that answer."""

    def changes(self, fields: Fields, before: Snapshot, after: Snapshot, key: str) -> tuple[State, list[str]]:
        """What a client must set, by name, and the names that are gone."""


def difference(old: State, new: State) -> tuple[State, list[str]]:
    """What leads from one state to another: what must be set, by name, and the names that are gone."""
    changed = {name: value for name, value in new.items() if name not in old or old[name] != value}
    return changed, [name for name in old if name not in new]


class FieldView:
    """Fields as they are: only those that changed are looked at."""

    def __init__(self, positions: Iterable[tuple[str, int]]) -> None:
        """`positions` are names with their places in a snapshot."""
        self.positions = tuple(positions)

    def state(self, fields: Fields, snapshot: Snapshot, key: str) -> State:
        return {name: fields.value(snapshot, position) for name, position in self.positions}

    def state_as(self, viewer: Any, fields: Fields, snapshot: Snapshot, key: str) -> State:
        return self.state(fields, snapshot, key)

    def changes(self, fields: Fields, before: Snapshot, after: Snapshot, key: str) -> tuple[State, list[str]]:
        changed = {
            name: fields.value(after, position)
            for name, position in self.positions
            if before[position] != after[position]
        }
        return changed, []


class RenderedView:
    """What `render` makes of an instance: its parts at the top level are compared."""

    def __init__(self, render: Callable[[Any, Any], State], hints: Iterable[tuple[str, Any]]) -> None:
        """`render(instance, viewer)`; `hints` are the names and types of the parts, for clients."""
        self._render = render
        self.hints = tuple(hints)

    def state(self, fields: Fields, snapshot: Snapshot, key: str) -> State:
        return self.state_as(None, fields, snapshot, key)

    def state_as(self, viewer: Any, fields: Fields, snapshot: Snapshot, key: str) -> State:
        return self._render(fields.make(snapshot, key), viewer)

    def changes(self, fields: Fields, before: Snapshot, after: Snapshot, key: str) -> tuple[State, list[str]]:
        return difference(self.state(fields, before, key), self.state(fields, after, key))


class NamedViews:
    """Several views by name, of which `view_for` names the one that somebody sees."""

    def __init__(self, name: str, views: Mapping[Any, View]) -> None:
        """`name` is the actor's class, for error messages."""
        self._name = name
        self.views = dict(views)

    def state(self, fields: Fields, snapshot: Snapshot, key: str) -> State:
        """All that anybody sees."""
        return {k: v for name in self.views for k, v in self.state_as(name, fields, snapshot, key).items()}

    def state_as(self, viewer: Any, fields: Fields, snapshot: Snapshot, key: str) -> State:
        found: View | None = self.views.get(viewer)
        if found is None:
            names = ", ".join(map(repr, self.views))
            raise UsageError(f"view_for() of {self._name} gave {viewer!r}. There are the views {names}.")
        return found.state_as(viewer, fields, snapshot, key)

    def changes(self, fields: Fields, before: Snapshot, after: Snapshot, key: str) -> tuple[State, list[str]]:
        return difference(self.state(fields, before, key), self.state(fields, after, key))


Adapter = Callable[[type, type], "RenderedView | None"]

_adapters: list[Adapter] = []


def install(adapter: Adapter) -> None:
    """Let `adapter(actor, given)` make views of classes that it knows; it returns None for others."""
    if adapter not in _adapters:
        _adapters.append(adapter)


def of_class(actor: type, name: str, given: object) -> RenderedView:
    """The view that a class stands for. Raises `SchemaError` if there is none."""
    if isinstance(given, type):
        for adapter in _adapters:
            found = adapter(actor, given)
            if found is not None:
                return found
    raise SchemaError(
        f"{name} has view={given!r}, which is neither a list of field names nor a serializer class.",
        "Name the fields that clients mirror, view=['title', 'price'], or a class of rest_framework.serializers "
        "(as a dotted path, where that class needs the actor's).",
    )
