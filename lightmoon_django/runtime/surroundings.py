"""What a node is given: where its actors are kept, whether they are still its own, and the way to those elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call
    from lightmoon_django.actor.schema import ActorSchema
    from lightmoon_django.identity import Address
    from lightmoon_django.messages import AccessChange
    from lightmoon_django.persistence.driver import StoreQueue
    from lightmoon_django.persistence.store import Columns


class Lease(Protocol):
    """Whether this node may still trust that its rows are its own. Implemented by `cluster.membership`."""

    def valid(self) -> bool: ...


class Storage(Protocol):
    """Where each actor class is kept. Implemented by `host`."""

    def queue(self, schema: ActorSchema) -> StoreQueue | None:
        """The store of a persistent class; None for a class that lives in memory only."""

    def directory(self, schema: ActorSchema) -> StoreQueue | None:
        """The store that says who has an actor of that class; None where no other process could have it."""

    @property
    def alone(self) -> bool:
        """Whether this process has all actors in memory only, without a claim on each: no other could have any."""

    def end_solitude(self) -> tuple[StoreQueue, int] | None:
        """From now on it claims them one by one. The directory, and the incarnation that was alone; None: it wasn't."""

    def columns(self, schema: ActorSchema) -> Columns: ...

    def guard(self) -> Callable[[], bool] | None:
        """Under a test runner: tells later whether the transaction of now still stands."""

    @property
    def idle(self) -> bool:
        """Nothing is on its way to a store."""

    def discard(self) -> None:
        """What has not left for a store yet never does."""

    def stop(self) -> None: ...


class Elsewhere(Protocol):
    """The actors of other nodes. Implemented by `cluster`."""

    def takes(self, call: Call) -> bool:
        """Send a call to the node that has its actor or is to have it. False: this one is to claim the row."""

    def send(self, calls: list[Call], owner: int) -> None:
        """Send calls, in order, to the node whose incarnation owns their actor's row."""

    def cancel(self, call: Call) -> bool:
        """Take back a call that was sent. False: it wasn't."""

    def unsubscribe(self, address: Address, subscriber: str, user: Any) -> None:
        """Forget a subscriber here of a stream there."""

    def describe(self, address: Address, subscriber: str, meta: Mapping[str, Any]) -> None:
        """A subscriber here of a stream there says something else of itself."""

    def tell_due(self, node: int) -> None:
        """Tell that node that reminders are due whose actors it has."""

    def announce(self, change: AccessChange) -> None:
        """Tell every other node."""

    def announce_moving(self, addresses: list[Address]) -> None:
        """Tell every other node that what these actors remember of repeated calls will follow them."""

    @property
    def hosting(self) -> bool:
        """Whether this node takes actors at all."""

    def give(self, schema: ActorSchema, key: str, calls: list[Call], target: int | None) -> None:
        """This node has given an actor's row back: let `target` have it, or whoever is chosen."""

    async def company(self) -> bool:
        """Whether another node is alive that can take actors over. If so, this one takes no more from now on."""

    def hand_on(self, calls: list[Call]) -> None:
        """This node is stopping and has given the row back: let another one run them."""

    async def drain(self, until: float) -> None:
        """Wait, until a moment of the clock, for what was sent on and what came from others to end."""

    async def stop(self) -> None:
        """Leave the other nodes; they still get what was answered."""
