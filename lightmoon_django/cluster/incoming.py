"""Calls that other nodes send here: they run like any other, and their answers go back."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.call import Call, Subscription
from lightmoon_django.actor.repeat import Identity, said
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.outlets import Outlet, Outlets
from lightmoon_django.cluster.translation import ForeignTurn, message_of, subscription_of
from lightmoon_django.errors import InternalError, LightMoonError, Overloaded, TooLarge
from lightmoon_django.identity import Position
from lightmoon_django.messages import (
    MAX_PAYLOAD,
    Answer,
    Bounce,
    Cancel,
    Follow,
    Remote,
    Step,
    encode,
    failure,
    position_in,
)

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call as Base
    from lightmoon_django.actor.schema import MessageSchema
    from lightmoon_django.actor.turn import Turn
else:
    Base = object

logger = logging.getLogger("lightmoon")

BOUNCED_KEPT = 100_000  # routes whose generation is remembered as bounced

_NONE: tuple[str, ...] = ()
_SLOTS: tuple[str, ...] = ("id", "incoming", "peer", "route")


class Foreign(Base):
    """What makes a call one of another node: who sent it, and the way its answer takes back."""

    __slots__ = _NONE  # a class can have only one base with slots

    id: int
    peer: int
    incoming: Incoming
    route: tuple[int, str, str, int]  # sender, actor, key, generation

    def resolve(self, payload: bytes) -> None:
        if len(payload) > MAX_PAYLOAD:
            self.reject(TooLarge(f"A result of {len(payload)} bytes is over the limit between nodes."))
        else:
            self.incoming.answer(self, encode(Answer(self.id, payload, self.position)))

    def reject(self, error: LightMoonError) -> None:
        self.incoming.answer(self, encode(failure(self.id, said(self.identity, error), self.position)))

    @property
    def position(self) -> Position | None:
        """What followers of the actor there must have got before the answer."""
        outlets = self.incoming.outlets
        return outlets.position(self.peer, self.address) if outlets.groups else None

    def bounce(self, owner: int | None) -> None:
        """It didn't run: its actor isn't here."""
        self.incoming.bounce(self, owner)


class RemoteCall(Foreign, Call):
    """A call of another node. `form` says how its payload and its result are encoded."""

    __slots__ = (*_SLOTS, "form", "mark")

    form: str
    mark: str | None

    def decode(self) -> tuple[Any, ...]:
        arguments = self.message.signature.arguments
        if self.form == "wire":
            return arguments.from_wire(self.payload)[1:]
        return arguments.from_local(self.payload)

    def encode(self, result: Any) -> bytes:
        if self.form == "none":
            return b""
        returns = self.message.signature.returns
        payload = returns.to_wire(result) if self.form == "wire" else returns.to_local(result)
        if len(payload) > MAX_PAYLOAD:
            raise TooLarge(f"A result of {len(payload)} bytes is over the limit between nodes.")  # the turn is undone
        return payload


class RemoteSubscription(Foreign, Subscription):
    """A subscription of another node's session. What it gets goes to that node once, for all its sessions."""

    __slots__ = (*_SLOTS, "followed", "grouped", "hidden", "meta")

    grouped: bool
    followed: Position | None
    hidden: frozenset[str]
    meta: dict[str, Any] | None

    @property
    def subscriber(self) -> Outlet:
        """Made when it is needed: the stream may have ended since the call came."""
        return self.incoming.outlets.of(self.peer, self.address, self.grouped)

    def resolve(self, payload: bytes) -> None:
        self.followed = position_in(payload)
        self.subscriber.joined(self.peer, self.caller or "", self.user, self.followed)
        if self.incoming.awaits(self):
            super().resolve(payload)
        else:  # nobody would ever take it out again
            self.incoming.outlets.leave(self.peer, self.address, self.caller or "", self.user)

    @property
    def position(self) -> Position | None:
        return self.followed or super().position


class Incoming:
    """The calls of other nodes that are under way here."""

    def __init__(
        self,
        me: int,
        clock: Clock,
        send: Callable[[int, bytes], None],
        post: Callable[[Call], None],
        cancel: Callable[[Call], None],
        turn_of: Callable[[int], Turn | None],
        outlets: Outlets,
        crowded: Container[int],
    ) -> None:
        """`send` never raises. `turn_of` finds a turn of this node that waits for a call to another one.

        `crowded` are the peers for which too many answers wait already.
        """
        self._me = me
        self._clock = clock
        self._send = send
        self._post = post
        self._cancel = cancel
        self._turn_of = turn_of
        self.outlets = outlets
        self.left = False  # the links: nobody can follow by them any more
        self._crowded = crowded
        self._calls: dict[tuple[int, int], Foreign] = {}
        self._bounced: OrderedDict[tuple[int, str, str], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._calls)

    def run(self, peer: int, frame: Remote | Follow, user: Any) -> None:
        """Post a call, or bounce it with the rest of its route."""
        remote = frame.call if isinstance(frame, Follow) else frame
        if self._bounced.get((peer, remote.actor, remote.key)) == remote.generation:
            self._send(peer, encode(Bounce(remote.id, None)))
            return
        if peer in self._crowded:
            error = Overloaded("Too many answers wait for room on the way to the caller's node.", retry_after=1.0)
            self.refuse(peer, remote.id, error)
            return
        try:
            call = self._made(peer, frame, user)
        except LightMoonError as error:
            self.refuse(peer, remote.id, error)
            return
        except Exception:
            logger.exception("A call of another node can't be read.", extra={"action": "call_unread"})
            self.refuse(peer, remote.id, InternalError("The actor's node could not read the call."))
            return
        self._calls[peer, remote.id] = call
        self._post(call)

    def refuse(self, peer: int, id: int, error: LightMoonError) -> None:
        """End a call before it was posted."""
        self._send(peer, encode(failure(id, error)))

    def _made(self, peer: int, frame: Remote | Follow, user: Any) -> Foreign:
        if isinstance(frame, Follow):
            remote = frame.call
            call = self._built(RemoteSubscription, subscription_of(remote), remote, user)
            call.grouped, call.followed = frame.grouped and call.schema.castable, None
            call.hidden, call.meta = frozenset(frame.hidden), frame.meta
            call.since = Position(*frame.since) if frame.since is not None else None
        else:
            remote = frame
            call = self._built(RemoteCall, message_of(remote), remote, user)
            call.form, call.mark = remote.form, remote.mark
        call.id, call.peer, call.incoming = remote.id, peer, self
        call.route = (peer, remote.actor, remote.key, remote.generation)
        if remote.identity is not None:
            call.identity = Identity(*remote.identity)
        call.hops = remote.hops
        call.args = call.decode()  # here, so that what doesn't fit never touches the actor
        found: Foreign = call
        return found

    def _built(self, cls: type[Any], message: MessageSchema, remote: Remote, user: Any) -> Any:
        return cls(
            message,
            remote.key,
            None,
            remote.payload,
            self._clock.monotonic() + remote.seconds,
            caller=remote.caller,
            user=user,
            chain=tuple(map(self._turn, remote.chain)),
        )

    def _turn(self, step: Step) -> Any:
        found = self._turn_of(step.turn) if step.node == self._me else None
        return found if found is not None else ForeignTurn(step)

    def awaits(self, call: Foreign) -> bool:
        """Whether its answer gets to a node that waits for it: neither has died or left the links meanwhile."""
        return (call.peer, call.id) in self._calls and not self.left

    def cancel(self, peer: int, frame: Cancel) -> None:
        call = self._calls.get((peer, frame.id))
        if call is not None:
            self._cancel(call)

    def answer(self, call: Foreign, frame: bytes) -> None:
        if self._calls.pop((call.peer, call.id), None) is not None:
            self._send(call.peer, frame)

    def bounce(self, call: Foreign, owner: int | None) -> None:
        peer, actor, key, generation = call.route
        self._bounced[peer, actor, key] = generation
        self._bounced.move_to_end((peer, actor, key))
        if len(self._bounced) > BOUNCED_KEPT:
            self._bounced.popitem(last=False)
        self.answer(call, encode(Bounce(call.id, owner)))

    def died(self, peer: int) -> None:
        """Nobody waits for that node's calls any more. Its tells still run."""
        for key, call in list(self._calls.items()):
            if key[0] == peer:
                del self._calls[key]
                if call.form != "none":
                    self._cancel(call)
