"""The proxy of one actor: its messages are its methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django.client.events import Changes, Events
from lightmoon_django.errors import UsageError
from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.client.client import Client


class Actor:
    """One actor, by its address. Costs nothing until it is used. Stands for its key in arguments.

    `await room.say(text="hi")` calls a message, by name or by position. A message that is called like something here
    is reached by `room.message("events")`.
    """

    __slots__ = ("_address", "_client")

    def __init__(self, client: Client, address: Address) -> None:
        self._client = client
        self._address = address

    @property
    def key(self) -> str:
        return self._address.key

    @property
    def lightmoon_key(self) -> str:
        """What the codec sends for it."""
        return self._address.key

    @property
    def state(self) -> dict[str, Any] | None:
        """What the actor shows, kept up to date while anybody follows it. None before, and where it shows nothing."""
        stream = self._client.followed(self._address)
        return stream.snapshot if stream is not None else None

    async def subscribe(self) -> dict[str, Any] | None:
        """Follow it until `unsubscribe`, so that `state` is kept up to date. Answers the state as it is now.

        Raises what the server refuses it with.
        """
        stream = self._client.stream(self._address)
        stream.keep(True)
        try:
            await stream.live()
        except BaseException:
            stream.keep(False)
            raise
        return stream.snapshot

    def unsubscribe(self) -> None:
        """Undo `subscribe`. Readers of events and changes go on."""
        stream = self._client.followed(self._address)
        if stream is not None:
            stream.keep(False)

    @property
    def presence(self) -> dict[str, Any] | None:
        """Who follows it: `users` by key, each with `info` and `connections`, and `count`. Users are None of a crowd.

        Kept up to date while anybody here follows it; None before, and where its class doesn't tell.
        """
        stream = self._client.followed(self._address)
        return stream.presence.current if stream is not None else None

    async def present(self, meta: Mapping[str, Any]) -> None:
        """Show others who follow it this of the connection, as its `meta`, for as long as it is followed here.

        Raises what the server refuses it with, and `UsageError` when nobody here follows the actor.
        """
        stream = self._client.followed(self._address)
        if stream is None:
            raise UsageError(f"Nobody here follows {self._address}: subscribe, or read its events, and then present.")
        await stream.present(meta)

    def events(self, *names: str) -> Events:
        """Its events of these names, or all, from now on: `async for event in room.events("said")`.

        As a context manager it first waits until the subscription flows, so that no event of a later call is missed.
        Raises `StreamReset` where events may be missing, unless "reset" is one of the names. With "presence" among
        them it also reads who came and went.
        """
        return Events(self._client.stream(self._address), names)

    def changes(self) -> Changes:
        """Its state, as it is and then whenever it is another: `async for state in room.changes()`."""
        return Changes(self._client.stream(self._address))

    def message(self, name: str) -> Message:
        """A message by its name, whatever that is."""
        return Message(self._client, self._address, name)

    def __getattr__(self, name: str) -> Message:
        if name.startswith("_"):
            raise AttributeError(name)
        return Message(self._client, self._address, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Actor):
            return NotImplemented
        return self._client is other._client and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __repr__(self) -> str:
        return f"<actor {self._address}>"


class Message:
    """One message of one actor."""

    __slots__ = ("_address", "_call_id", "_client", "_name")

    def __init__(self, client: Client, address: Address, name: str, call_id: str | None = None) -> None:
        self._client = client
        self._address = address
        self._name = name
        self._call_id = call_id

    def options(self, *, call_id: str) -> Message:
        """The same message with an idempotency key: sent again with equal arguments it gets the first answer.

        For messages that are declared with `once` also in a later session of the same user that continues this one.
        """
        return Message(self._client, self._address, self._name, call_id)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The actor's answer. Raises what it raised. Cancelling the task takes the call back."""
        return await self._client.call(self._method, self._params(args, kwargs), call_id=self._call_id)

    async def tell(self, *args: Any, **kwargs: Any) -> None:
        """Send it, and don't wait for an answer. Returns when the connection takes more."""
        await self._client.tell(self._method, self._params(args, kwargs))

    @property
    def _method(self) -> str:
        return f"{self._address.actor}.{self._name}"

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not args:
            return {"key": self._address.key, **kwargs}
        if kwargs:
            raise TypeError(f"{self._method}: give arguments either by name or by position, not both.")
        return [self._address.key, *args]

    def __repr__(self) -> str:
        return f"<message {self._name} of {self._address}>"
