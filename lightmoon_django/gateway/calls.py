"""Calls that came over the wire, and where their answers go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lightmoon_django.actor.call import Call, Subscription
from lightmoon_django.actor.repeat import said
from lightmoon_django.errors import Conflict, LightMoonError
from lightmoon_django.gateway import frames, limits

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call as Base
    from lightmoon_django.actor.schema import MessageSchema
    from lightmoon_django.gateway.client import Client
    from lightmoon_django.gateway.session import Session
    from lightmoon_django.identity import Position
else:
    Base = object


class Sink(Protocol):
    """Where answers go: a connection, or a batch whose answers travel together."""

    def expect(self) -> None:
        """One more answer will come."""

    def answer(self, frame: str) -> None:
        """One of the expected answers. Never raises."""


_NONE: tuple[str, ...] = ()
_SLOTS: tuple[str, ...] = ("client", "copies", "fingerprint", "ident", "request_id", "sink")


class Wired(Base):
    """What the gateway adds to a call: who asked, under which id, and where the answer goes."""

    __slots__ = _NONE  # a class can have only one base with slots

    client: Client
    sink: Sink
    request_id: str | None  # encoded; None for a notification
    ident: str | float | None  # decoded; None also for the id null
    fingerprint: int  # of method and params; 0 where ids are not remembered
    copies: list[Sink] | None  # where else the answer goes: the same request was sent again meanwhile

    def resolve(self, payload: bytes) -> None:
        """Send the result, or that it is too large to be sent."""
        request_id = self.request_id
        if request_id is None:
            return
        if len(payload) > self.client.hub.response_limit:
            self.reject(limits.response_too_large(payload, self.client.hub.response_limit))
        else:
            self._finish(frames.result(request_id, payload.decode()), True)

    def reject(self, error: LightMoonError) -> None:
        """Send the error. One that says `retryable` is not remembered: sent again, the call runs."""
        error = said(self.identity, error)
        if self.request_id is not None:
            self._finish(frames.failure(self.request_id, error), not error.retryable)

    def _finish(self, frame: str, lasting: bool) -> None:
        if self.ident is not None:
            self.client.settle(self, frame, lasting)
        self.sink.answer(frame)
        if self.copies is not None:
            for sink in self.copies:
                sink.answer(frame)


class WireCall(Wired, Call):
    """A message from a client. Its payload is the encoded `params`."""

    __slots__ = (*_SLOTS, "mark")

    mark: str | None

    @property
    def form(self) -> str:  # type: ignore[override]
        return "none" if self.request_id is None else "wire"

    def __init__(
        self,
        message: MessageSchema,
        key: str,
        args: tuple[Any, ...],
        payload: bytes,
        deadline: float,
        client: Client,
        sink: Sink,
        request_id: str | None,
        ident: str | float | None,
        fingerprint: int,
    ) -> None:
        Call.__init__(self, message, key, args, payload, deadline, caller=client.id, user=client.user)
        self.client = client
        self.sink = sink
        self.request_id = request_id
        self.ident = ident
        self.fingerprint = fingerprint
        self.copies = None
        self.mark = None

    def decode(self) -> tuple[Any, ...]:
        return self.message.signature.arguments.from_wire(self.payload)[1:]

    def encode(self, result: Any) -> bytes:
        if self.request_id is None:
            return b""
        payload = self.message.signature.returns.to_wire(result)
        if len(payload) > self.client.hub.response_limit:
            raise limits.response_too_large(payload, self.client.hub.response_limit)  # the turn is undone
        return payload


class WireSubscription(Wired, Subscription):
    """`lm.subscribe` from a session. `established` while the stream flows, `pending` until it is answered.

    `restated`: its `meta` may have come too late to go with it.
    """

    __slots__ = (*_SLOTS, "established", "hidden", "meta", "pending", "restated")

    client: Session
    hidden: frozenset[str]  # judged again as long as the stream flows
    meta: dict[str, Any] | None

    def __init__(
        self,
        message: MessageSchema,
        key: str,
        deadline: float,
        client: Session,
        sink: Sink,
        request_id: str | None,
        ident: str | float | None,
        fingerprint: int,
        since: Position | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        Call.__init__(self, message, key, (), b"", deadline, caller=client.id, user=client.user)
        self.subscriber = client
        self.since = since
        self.client = client
        self.sink = sink
        self.request_id = request_id
        self.ident = ident
        self.fingerprint = fingerprint
        self.copies = None
        self.hidden = message.actor.guarded
        self.meta = meta
        self.established = False
        self.pending = True
        self.restated = False

    def resolve(self, payload: bytes) -> None:
        self.pending = False
        if len(payload) > self.client.hub.response_limit:
            self.reject(limits.response_too_large(payload, self.client.hub.response_limit))
            self.client.joined(self)  # which nobody wants any more, unless it flowed before or is asked for anew
        elif self.client.joined(self):
            super().resolve(payload)
        else:  # no frame would follow such an answer
            self.give_up()

    def give_up(self) -> None:
        """Answer that nothing came of it, which its client hasn't cancelled."""
        super().reject(Conflict("The stream was ended while it was being joined. Subscribe again."))

    def reject(self, error: LightMoonError) -> None:
        self.pending = False
        self.client.refused(self)
        super().reject(error)

    def joined_late(self) -> None:
        self.client.joined(self)

    def _finish(self, frame: str, lasting: bool) -> None:
        super()._finish(frame, False)  # sent again later, it is owed the state of that time
        self.request_id = self.ident = self.copies = None  # it stays for as long as the stream flows
        self.fingerprint = 0
        self.client.rest()
