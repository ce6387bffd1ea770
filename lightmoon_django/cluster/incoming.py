"""Calls that other nodes send here: they run like any other, and their answers go back."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from lightmoon_django.actor.call import Call
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.translation import ForeignTurn, identity_of, message_of
from lightmoon_django.errors import LightMoonError
from lightmoon_django.identity import Address
from lightmoon_django.messages import Answer, Bounce, Cancel, Remote, encode, failure

logger = logging.getLogger("lightmoon")

BOUNCED_KEPT = 100_000  # routes whose generation is remembered as bounced


class RemoteCall(Call):
    """A call of another node. `form` says how its payload and its result are encoded."""

    __slots__ = ("form", "id", "incoming", "peer", "route")

    form: str
    id: int
    peer: int
    incoming: Incoming
    route: tuple[int, str, str, int]  # sender, actor, key, generation

    def decode(self) -> tuple[Any, ...]:
        arguments = self.message.signature.arguments
        if self.form == "wire":
            return arguments.from_wire(self.payload)[1:]
        return arguments.from_local(self.payload)

    def encode(self, result: Any) -> bytes:
        if self.form == "none":
            return b""
        returns = self.message.signature.returns
        return returns.to_wire(result) if self.form == "wire" else returns.to_local(result)

    def resolve(self, payload: bytes) -> None:
        self.incoming.answer(self, encode(Answer(self.id, payload)))

    def reject(self, error: LightMoonError) -> None:
        self.incoming.answer(self, encode(failure(self.id, error)))

    def bounce(self, owner: int | None) -> None:
        """It didn't run: its actor isn't here."""
        self.incoming.bounce(self, owner)


class Turns(Protocol):
    """The turns of this node that wait for calls to other nodes. Implemented by the runtime's node."""

    def waiting_turn(self, number: int) -> Any:
        """The turn of that number, or None."""


class Incoming:
    """The calls of other nodes that are under way here."""

    def __init__(
        self,
        me: int,
        clock: Clock,
        send: Callable[[int, bytes], None],
        post: Callable[[Call], None],
        cancel: Callable[[Call], None],
        turns: Turns,
    ) -> None:
        """`send` never raises; what can't be sent is lost with its link."""
        self._me = me
        self._clock = clock
        self._send = send
        self._post = post
        self._cancel = cancel
        self._turns = turns
        self._calls: dict[tuple[int, int], RemoteCall] = {}
        self._bounced: OrderedDict[tuple[int, str, str], int] = OrderedDict()

    def run(self, peer: int, frame: Remote, user: Any) -> None:
        """Post a call, or bounce it with the rest of its route."""
        if self._bounced.get((peer, frame.actor, frame.key)) == frame.generation:
            self._send(peer, encode(Bounce(frame.id, None)))
            return
        try:
            call = self._call(peer, frame, user)
        except LightMoonError as error:
            self._send(peer, encode(failure(frame.id, error)))
            return
        self._calls[peer, frame.id] = call
        self._post(call)

    def _call(self, peer: int, frame: Remote, user: Any) -> RemoteCall:
        call = RemoteCall(
            message_of(frame),
            frame.key,
            None,
            frame.payload,
            self._clock.monotonic() + frame.seconds,
            caller=frame.caller,
            user=user,
            chain=tuple(self._turn(step) for step in frame.chain),
        )
        call.form, call.id, call.peer, call.incoming = frame.form, frame.id, peer, self
        call.route = (peer, frame.actor, frame.key, frame.generation)
        call.identity = identity_of(frame)
        call.hops = frame.hops
        call.args = call.decode()  # here, so that what doesn't fit never touches the actor
        return call

    def _turn(self, step: Any) -> Any:
        found = self._turns.waiting_turn(step.turn) if step.node == self._me else None
        return found if found is not None else ForeignTurn(step)

    def cancel(self, peer: int, frame: Cancel) -> None:
        call = self._calls.get((peer, frame.id))
        if call is not None:
            self._cancel(call)

    def answer(self, call: RemoteCall, frame: bytes) -> None:
        if self._calls.pop((call.peer, call.id), None) is not None:
            self._send(call.peer, frame)

    def bounce(self, call: RemoteCall, owner: int | None) -> None:
        peer, actor, key, generation = call.route
        self._bounced[peer, actor, key] = generation
        self._bounced.move_to_end((peer, actor, key))
        if len(self._bounced) > BOUNCED_KEPT:
            self._bounced.popitem(last=False)
        self.answer(call, encode(Bounce(call.id, owner)))

    def died(self, peer: int) -> None:
        """Nobody waits for that node's calls any more."""
        for (sender, _), call in list(self._calls.items()):
            if sender == peer:
                self._cancel(call)


def address_of(frame: Remote) -> Address:
    return Address(frame.actor, frame.key)
