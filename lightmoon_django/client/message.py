"""One message of one actor, ready to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightmoon_django.client.reading import Reading
from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.client.client import Client


class Message:
    """One message of one actor."""

    __slots__ = ("_address", "_call_id", "_client", "_name", "_reading")

    def __init__(
        self, client: Client, address: Address, name: str, reading: Reading, call_id: str | None = None
    ) -> None:
        self._client = client
        self._address = address
        self._name = name
        self._reading = reading
        self._call_id = call_id

    def options(self, *, call_id: str) -> Message:
        """The same message with an idempotency key: sent again with equal arguments it gets the first answer.

        For messages that are declared with `once` also in a later session of the same user that continues this one.
        """
        return Message(self._client, self._address, self._name, self._reading, call_id)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The actor's answer. Raises what it raised. Cancelling the task takes the call back."""
        answer = await self._client.call(self._method, self._params(args, kwargs), call_id=self._call_id)
        return self._reading.result(self._name, answer)

    async def tell(self, *args: Any, **kwargs: Any) -> None:
        """Send it, and don't wait for an answer. Returns when the connection takes more."""
        await self._client.tell(self._method, self._params(args, kwargs))

    @property
    def _method(self) -> str:
        return f"{self._address.actor}.{self._name}"

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._reading.params(self._address, self._name, args, kwargs)

    def __repr__(self) -> str:
        return f"<message {self._name} of {self._address}>"
