"""What the gateway asks of the node that it stands before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call
    from lightmoon_django.clock import Clock
    from lightmoon_django.conf import Settings
    from lightmoon_django.gateway.following import Follower
    from lightmoon_django.identity import Address


class Switchboard(Protocol):
    """The node's side of every call. Used on the node's event loop only. Implemented by `host`."""

    @property
    def settings(self) -> Settings: ...

    @property
    def clock(self) -> Clock: ...

    def post(self, call: Call) -> None:
        """Send it on its way. Never raises; `resolve` or `reject` follows once, perhaps before this returns."""

    def cancel(self, call: Call) -> None:
        """Take it back. Queued, it never runs; running, it is rolled back; committing, its result still comes."""

    def unsubscribe(self, address: Address, subscriber: Follower, user: Any) -> None:
        """Stop pushing that stream, at once. Nothing happens when it wasn't subscribed."""

    def describe(self, address: Address, subscriber: Follower, meta: Mapping[str, Any]) -> None:
        """Show others who follow that stream what this subscriber says of itself."""
