"""What a client may know of an actor class that its process has: how results, events and state are read by their hints.

A client needs no Django project. Where it runs inside one, the app tells it here how to find the project's classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from lightmoon_django.errors import UsageError


class Kind(Protocol):
    """One actor class. Whatever reads a value raises `UpgradeNeeded` when the server has another version of the class.

    What stands for refs in such values is of the class that `reference` gave.
    """

    name: str  # on the wire

    @property
    def messages(self) -> Collection[str]:
        """The names of all, also of those that clients don't reach."""

    @property
    def ref(self) -> type:
        """The class of refs to it, made with `reference`."""

    def canonical(self, key: object) -> str:
        """The key as text. Raises `InvalidParams`."""

    def bind(self, message: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name, as given. Raises `TypeError` as Python would.

        `UsageError` for a message that clients don't reach.
        """

    def result(self, message: str, value: Any) -> Any:
        """What a message has answered."""

    def data(self, event: str, value: dict[str, Any]) -> dict[str, Any]:
        """The data of an event."""

    def state(self, value: dict[str, Any]) -> dict[str, Any]:
        """The state that clients mirror."""

    def check_events(self, names: Collection[str]) -> None:
        """Raise `UsageError` for a name that no event has."""


Reference = Callable[[Kind], type]  # makes the class of refs to actors of that kind: a `codec.Linked`
Find = Callable[[type, Reference], Kind]

_find: Find | None = None


def install(find: Find) -> None:
    """Set how this process knows its actor classes."""
    global _find
    _find = find


def of(actor: type, reference: Reference) -> Kind:
    """Raises `UsageError` for a class that is no actor, and outside a project."""
    if _find is None:
        raise UsageError(
            f"{actor.__qualname__} is no actor that this process knows: LightMoon is not installed in it. Call "
            "django.setup() first, or name the actor by its wire name, as in client.actor('chat.Room', '42')."
        )
    return _find(actor, reference)
