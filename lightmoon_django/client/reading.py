"""How values of one actor are sent and read: as JSON has them, or by the hints of its class."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.client.client import Client
    from lightmoon_django.kinds import Kind

T = TypeVar("T")

reader: ContextVar[Client] = ContextVar("lightmoon_reader")  # whose refs are made, while something is read


class Reading:
    """As they are: plain JSON. Arguments come by name or by position, since nothing is known of either."""

    def params(self, address: Address, message: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a call sends."""
        if not args:
            return {"key": address.key, **kwargs}
        if kwargs:
            raise TypeError(f"{address.actor}.{message}: give arguments either by name or by position, not both.")
        return [address.key, *args]

    def result(self, message: str, value: Any) -> Any:
        return value

    def data(self, event: str, value: dict[str, Any]) -> dict[str, Any]:
        return value

    def state(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return value

    def check_events(self, names: Collection[str]) -> None:
        """Raise `UsageError` for a name that no event is known to have."""


PLAIN = Reading()


class Hinted(Reading):
    """By the hints of the actor's class, which this process has."""

    def __init__(self, client: Client, kind: Kind) -> None:
        self._client = client
        self._kind = kind
        self._shown: tuple[Any, Any] = None, None  # the latest state that was read, and what it is

    def params(self, address: Address, message: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return {"key": address.key, **self._kind.bind(message, args, kwargs)}

    def result(self, message: str, value: Any) -> Any:
        return self._read(self._kind.result, message, value)

    def data(self, event: str, value: dict[str, Any]) -> dict[str, Any]:
        return self._read(self._kind.data, event, value)

    def state(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        if value is not self._shown[0]:
            self._shown = value, self._read(self._kind.state, value)
        found: dict[str, Any] = self._shown[1]
        return found

    def check_events(self, names: Collection[str]) -> None:
        self._kind.check_events(names)

    def _read(self, decode: Callable[..., T], *values: Any) -> T:
        token = reader.set(self._client)
        try:
            return decode(*values)
        finally:
            reader.reset(token)
