"""An actor at the server, typed as its class: what `client.ref(Room, "42")` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lightmoon_django import kinds
from lightmoon_django.client.message import Message
from lightmoon_django.client.reading import Hinted, reader
from lightmoon_django.codec import Linked
from lightmoon_django.errors import UsageError
from lightmoon_django.identity import Address
from lightmoon_django.kinds import Kind

if TYPE_CHECKING:
    from lightmoon_django.client.client import Client

_INSIDE = ("sync", "at", "after", "every", "cancel")  # what refs inside the project can besides


class Ref(Linked):
    """An address. Costs nothing until it is used; equal addresses are equal refs. Stands for its key in arguments.

    Only messages can be reached through it; what follows the actor is `client.actor(Room, "42")`.
    """

    __slots__ = ("_client", "key")

    _kind: ClassVar[Kind]  # set on each subclass

    def __init__(self, client: Client, key: str) -> None:
        self._client = client
        self.key = key

    @classmethod
    def from_key(cls, key: str) -> Ref:
        """One that the server has sent."""
        return cls(reader.get(), cls._kind.canonical(key))

    def __getattr__(self, name: str) -> RefMessage:
        kind = type(self)._kind
        if name not in kind.messages:
            raise AttributeError(
                f"A ref has no state and {kind.name} has no message {name!r}. "
                f"Messages are: {', '.join(sorted(kind.messages)) or 'none'}."
            )
        return RefMessage(self._client, Address(kind.name, self.key), name, Hinted(self._client, kind))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other._client, other.key) == (self._client, self.key)

    def __hash__(self) -> int:
        return hash((type(self), self.key))

    def __repr__(self) -> str:
        return f"<ref of {Address(type(self)._kind.name, self.key)} at a server>"


class RefMessage(Message):
    """One message of one actor, as its class types it: `await room.say("hi")`, `room.say.tell("hi")`."""

    __slots__ = ()

    def tell(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Send it, and don't wait for anything. Without a connection it waits for one as calls do, or is lost."""
        self._client.post(self._method, self._params(args, kwargs))

    def options(self, *, call_id: str | None = None, **others: Any) -> RefMessage:
        """The same message with an idempotency key: sent again with equal arguments it gets the first answer."""
        if others:
            raise UsageError(
                f"A client's call has no {', '.join(others)}. asyncio.timeout ends one, and takes it back."
            )
        return RefMessage(self._client, self._address, self._name, self._reading, call_id)

    def __getattr__(self, name: str) -> Any:
        if name in _INSIDE:
            raise UsageError(f"A client has no .{name}(): it is for code inside the project, beside the actors.")
        raise AttributeError(name)


def kind_of(actor: type) -> Kind:
    """Raises `UsageError` for a class that is no actor, and outside a project."""
    return kinds.of(actor, reference)


def reference(kind: Kind) -> type[Ref]:
    """The class of refs to actors of a kind."""
    return type(f"{kind.name.rpartition('.')[2]}Ref", (Ref,), {"__slots__": (), "_kind": kind})
