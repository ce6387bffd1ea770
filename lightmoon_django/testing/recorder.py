"""What actors let out: their events, and what subscribers are told of their state."""

from __future__ import annotations

import dataclasses
from typing import Any

from lightmoon_django import codec
from lightmoon_django.actor.turn import Turn
from lightmoon_django.identity import Address
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.release import patch
from lightmoon_django.testing.address import address_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Emission:
    """One event, or (`name` is None) one patch of the view, with its data as clients get it."""

    address: Address
    name: str | None
    data: Any


class Recorder:
    """Everything that was released since the test began or `clear` was called, of actors with and without subscribers.

    What a turn emitted is here before its caller has the answer, and never if the turn was undone.
    """

    def __init__(self) -> None:
        self._all: list[Emission] = []

    def of(self, target: object) -> list[tuple[str, Any]]:
        """The events of one actor as pairs of name and data, in the order of release."""
        address = address_of(target)
        return [(one.name, one.data) for one in self._all if one.address == address and one.name is not None]

    def patches_of(self, target: object) -> list[dict[str, Any]]:
        """The view fields that each turn of one actor changed, in the order of release."""
        address = address_of(target)
        return [one.data for one in self._all if one.address == address and one.name is None]

    def clear(self) -> None:
        """Forget what was released so far."""
        self._all.clear()

    def observe(self, activation: Activation, turn: Turn) -> None:
        """Called on the node's loop for each turn that is released."""
        changed = _changed(activation, turn) if turn.before is not turn.after else None
        if changed:
            self._add(activation, None, codec.encode_json(changed))
        for name, data in turn.events or ():
            self._add(activation, name, data)

    def _add(self, activation: Activation, name: str | None, data: bytes) -> None:
        self._all.append(Emission(address=activation.address, name=name, data=codec.decode_any(data)))


def _changed(activation: Activation, turn: Turn) -> dict[str, Any] | None:
    try:
        return patch(activation, turn)[0]
    except Exception:  # of a serializer: subscribers hear of it, and the log
        return None
