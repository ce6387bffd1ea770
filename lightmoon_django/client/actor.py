"""The proxy of one actor: its messages are its methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django.client.events import Changes, Events
from lightmoon_django.client.message import Message
from lightmoon_django.client.reading import PLAIN, Reading
from lightmoon_django.errors import UsageError
from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.client.client import Client


class Actor:
    """One actor, by its address. Costs nothing until it is used. Stands for its key in arguments.

    `await room.say(text="hi")` calls a message, by name or by position. Made by its wire name it gives plain JSON; made
    by its class, what the hints there say. A message that is called like something here
    is reached by `room.message("events")`.
    """

    __slots__ = ("_address", "_client", "_reading")

    def __init__(self, client: Client, address: Address, reading: Reading = PLAIN) -> None:
        self._client = client
        self._address = address
        self._reading = reading

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
        return self._reading.state(stream.snapshot) if stream is not None else None

    async def subscribe(self) -> dict[str, Any] | None:
        """Follow it until `unsubscribe`, so that `state` is kept up to date. Answers the state as it is now.

        Raises what the server refuses it with.
        """
        stream = self._client.stream(self._address)
        await stream.live()
        stream.keep(True)
        return self._reading.state(stream.snapshot)

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
        self._reading.check_events(names)
        return Events(self._client.stream(self._address), names, reading=self._reading)

    def changes(self) -> Changes:
        """Its state, as it is and then whenever it is another: `async for state in room.changes()`."""
        return Changes(self._client.stream(self._address), self._reading)

    def message(self, name: str) -> Message:
        """A message by its name, whatever that is."""
        return Message(self._client, self._address, name, self._reading)

    def __getattr__(self, name: str) -> Message:
        if name.startswith("_"):
            raise AttributeError(name)
        return Message(self._client, self._address, name, self._reading)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Actor):
            return NotImplemented
        return self._client is other._client and self._address == other._address

    def __hash__(self) -> int:
        return hash(self._address)

    def __repr__(self) -> str:
        return f"<actor {self._address}>"
