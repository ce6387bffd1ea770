"""A call: one message on its way to one actor, and the way its answer takes back.

The runtime knows only this class. Where the answer goes is the subclass's business: `Ask` fulfils a future, `Tell`
logs a failure, the gateway's own subclass writes a JSON-RPC response.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.repeat import Identity, said
from lightmoon_django.errors import LightMoonError
from lightmoon_django.identity import Address, Position

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import ActorSchema, MessageSchema
    from lightmoon_django.actor.turn import Turn

logger = logging.getLogger("lightmoon")


class Call:
    """One message to one actor. Belongs to the node's event loop once it is posted.

    Exactly one of `resolve` and `reject` is called, once, on the node's loop, and never before what the answer depends
    on is durable.
    """

    __slots__ = (
        "args",
        "caller",
        "cancelled",
        "chain",
        "deadline",
        "hops",
        "identity",
        "key",
        "message",
        "origin",
        "payload",
        "schema",
        "user",
    )

    finishes = False  # whether `finish` is to be called
    mark: str | None = None  # a client's own sign, which the state patch of the turn carries
    form = "local"  # how payload and result are encoded: so, as a client's ("wire"), or with no result ("none")

    schema: ActorSchema
    message: MessageSchema
    key: str  # canonical, or at least spelled as the catalog knows it
    args: tuple[Any, ...] | None  # decoded; taken by the first run
    payload: Any  # what `decode` makes fresh arguments from, should the turn be run again
    deadline: float  # on the node's clock
    caller: str | None  # an actor's address, or a session's id
    user: Any  # the originating user
    chain: tuple[Turn, ...]  # the turns that wait for this call, outermost first
    origin: Turn | None  # the turn that sent it; its actor's earlier turns must be durable first
    cancelled: bool
    identity: Identity | None  # by which a repeated call is known

    def __init__(
        self,
        message: MessageSchema,
        key: str,
        args: tuple[Any, ...] | None,
        payload: Any,
        deadline: float,
        *,
        caller: str | None = None,
        user: Any = None,
        chain: tuple[Turn, ...] = (),
        origin: Turn | None = None,
    ) -> None:
        self.schema = message.actor
        self.message = message
        self.key = key
        self.args = args
        self.payload = payload
        self.deadline = deadline
        self.caller = caller
        self.user = user
        self.chain = chain
        self.origin = origin
        self.cancelled = False
        self.identity = None
        self.hops = 0  # how often its actor was not where it was sent

    @property
    def address(self) -> Address:
        return tuple.__new__(Address, (self.schema.name, self.key))  # cheaper than Address(…), and often asked for

    @property
    def creates(self) -> bool:
        """Whether it makes a missing row, where the actor is declared so."""
        return self.message.creates

    @property
    def late(self) -> bool:
        """Whether a node that stops takes it all the same: a turn has sent it, and turns come to their end."""
        return self.origin is not None

    def take_args(self) -> tuple[Any, ...]:
        """Arguments that no earlier run has touched."""
        args, self.args = self.args, None
        return self.decode() if args is None else args

    def decode(self) -> tuple[Any, ...]:
        """Fresh arguments from the payload."""
        return self.message.signature.arguments.from_local(self.payload)

    def encode(self, result: Any) -> bytes:
        """The result by value, checked against its hint. Raises `TypeError`, `ValueError` or `InvalidParams`."""
        return self.message.signature.returns.to_local(result)

    def finish(self, turn: Turn) -> None:
        """The handler has succeeded: add what must be stored with its turn. Raises to fail the turn."""

    def resolve(self, payload: bytes) -> None:
        """The turn is durable and this is its encoded result."""
        raise NotImplementedError

    def reject(self, error: LightMoonError) -> None:
        """The call ended without a result."""
        raise NotImplementedError


class Ask(Call):
    """A call from Python that waits on `future` for the encoded result."""

    __slots__ = ("future",)

    future: asyncio.Future[bytes] | concurrent.futures.Future[bytes]

    def resolve(self, payload: bytes) -> None:
        try:
            if not self.future.done():
                self.future.set_result(payload)
        except concurrent.futures.InvalidStateError:
            pass  # its caller, in another thread, has gone away just now

    def reject(self, error: LightMoonError) -> None:
        try:
            if not self.future.done():
                self.future.set_exception(said(self.identity, error))
        except concurrent.futures.InvalidStateError:
            pass


class Tell(Call):
    """A call that nobody waits for. Its failure is logged."""

    __slots__ = ()

    form = "none"

    def encode(self, result: Any) -> bytes:
        return b""

    def resolve(self, payload: bytes) -> None:
        pass

    def reject(self, error: LightMoonError) -> None:
        logger.warning(
            "A tell of %s to %s failed: %s",
            self.message.name,
            self.address,
            error,
            extra={"action": "tell_failed", "actor": str(self.address), "code": error.code},
        )


class Told(Tell):
    """A tell that a turn has sent."""

    __slots__ = ()

    late = True


class Subscription(Call):
    """A request to follow an actor's stream: a gated read-only turn that runs `on_subscribe` and takes the view.

    It resolves with the encoded answer of `lm.subscribe`, at the moment from which `subscriber` gets every frame.
    Build it with `schema.subscription` as its message, and set `subscriber` (a `runtime.streams.Subscriber`) and
    `since`.
    """

    __slots__ = ("since", "subscriber")

    subscriber: Any
    since: Position | None  # the last frame that the subscriber has, if it followed the stream before
    meta: dict[str, Any] | None = None  # what it says of its connection; None: nothing new

    @property
    def hidden(self) -> frozenset[str]:
        """Events that it may not see among those that it missed. What comes later its subscriber is asked about."""
        return self.message.actor.guarded

    def decode(self) -> tuple[Any, ...]:
        return ()


class Unsubscription(Tell):
    """The end of a subscription, for actors whose class has `on_unsubscribe`."""

    __slots__ = ("subscriber",)

    subscriber: Any

    def decode(self) -> tuple[Any, ...]:
        return ()
