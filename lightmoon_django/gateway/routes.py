"""The way of one kind of message from a frame to its actor: all that can be known about it before it comes."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from lightmoon_django.actor.repeat import identity
from lightmoon_django.codec import UNSET, Raw, UnsetType
from lightmoon_django.errors import Forbidden, InvalidRequest
from lightmoon_django.gateway.calls import WireCall
from lightmoon_django.gateway.guards import NOTHING, Guards
from lightmoon_django.gateway.policy import GRANTED, NOT_AUTHENTICATED, Policy

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import ActorSchema, MessageSchema
    from lightmoon_django.gateway.calls import Sink
    from lightmoon_django.gateway.client import Client
    from lightmoon_django.gateway.hub import Hub


class Route:
    """One message's way: its decoder, the canonical form of its keys, its permission classes, its deadline."""

    __slots__ = ("_canonical", "_decode", "_message", "_name", "_once", "_timeout", "hub", "policy")

    def __init__(self, message: MessageSchema, hub: Hub) -> None:
        self.hub = hub
        self.policy = Policy(message, hub.settings.DEFAULT_PERMISSION_CLASSES, reads=self._reads(message))
        self._message = message
        self._name = message.wire_name
        self._decode = message.signature.arguments.from_wire
        self._canonical = message.actor.keys
        self._once = message.options.once
        self._timeout = message.timeout or hub.settings.CALL_TIMEOUT

    @staticmethod
    def _reads(message: MessageSchema) -> bool:
        return message.options.read_only

    @property
    def message(self) -> MessageSchema:
        return self._message

    def canonical(self, key: str) -> str:
        """The key, if it is in its canonical form. Raises `InvalidParams`."""
        return self._canonical(key)

    def deadline(self, now: float) -> float:
        return now + self._timeout

    def submit(
        self,
        client: Client,
        sink: Sink,
        request_id: str | None,
        ident: str | float | None,
        params: Raw | UnsetType,
        mark: str | UnsetType = UNSET,
    ) -> Awaitable[None] | None:
        """Check one request and post it, at once or (when something is returned) once that was awaited.

        Raises what the client is to be told. What can be refused cheaply is refused first; only what would run counts
        against the rate.
        """
        policy = self.policy
        if policy.authenticated and not client.authenticated:
            raise Forbidden(NOT_AUTHENTICATED)
        payload = structured(params)
        found = self._decode(payload)
        key = self._canonical(found[0])
        fingerprint = 0
        if type(ident) is str and client.remembers:
            fingerprint = client.fingerprint(self._name, payload)
            if client.recall(ident, fingerprint, sink):
                return None
        now = self.hub.monotonic()
        client.spend(now)
        call = WireCall(
            self._message, key, found[1:], payload, now + self._timeout, client, sink, request_id, ident, fingerprint
        )
        if mark is not UNSET:
            call.mark = mark
        if self._once and type(ident) is str and client.remembers:
            call.identity = identity(ident, client.scope, self._name, key, payload)
        if policy.judged:
            refusal = policy.known(client, key, now)
            if refusal is None:
                return self._judged(client, call)
            if refusal != GRANTED:
                raise Forbidden(refusal)
        client.start(call)
        return None

    async def _judged(self, client: Client, call: WireCall) -> None:
        refusal = await self.policy.judge(client, call.key)
        if refusal != GRANTED:
            raise Forbidden(refusal)
        client.check_alive()
        if call.fingerprint and client.recall(str(call.ident), call.fingerprint, call.sink):
            return  # sent again by another request, and judged sooner
        call.user = client.user
        client.start(call)


class StreamRoute(Route):
    """The way to an actor's stream."""

    __slots__ = ("guards",)

    def __init__(self, schema: ActorSchema, hub: Hub) -> None:
        super().__init__(schema.subscription, hub)
        self.guards = Guards(schema, hub)

    @staticmethod
    def _reads(message: MessageSchema) -> bool:
        return True

    async def judge(self, client: Client, key: str) -> tuple[str, frozenset[str]]:
        """Why it may not be followed, if so, and the events that the client may not see: both of one user.

        What permission classes of the stream raise by mistake is raised.
        """
        while True:
            voided = client.voided
            refusal = self.policy.known(client, key, self.hub.monotonic())
            if refusal is None:
                refusal = await self.policy.judge(client, key)
            hidden = await self.guards.judge(client, key) if refusal == GRANTED else NOTHING
            if voided == client.voided:
                return refusal, hidden


def structured(params: Raw | UnsetType) -> bytes:
    """The encoded params, `{}` where there are none. Raises `InvalidRequest` unless they are an object or an array."""
    if isinstance(params, UnsetType):
        return b"{}"
    payload = bytes(params)
    if payload[0] in b"{[":
        return payload
    if payload == b"null":
        return b"{}"
    raise InvalidRequest("Params are an object or an array.")
