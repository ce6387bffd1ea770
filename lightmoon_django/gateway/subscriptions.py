"""`lm.subscribe` and `lm.unsubscribe`: joining an actor's stream, and leaving it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypedDict

from lightmoon_django import codec
from lightmoon_django.errors import Conflict, Forbidden, InvalidParams, Overloaded
from lightmoon_django.gateway.calls import WireSubscription
from lightmoon_django.gateway.methods import answer, parameters, session_of
from lightmoon_django.gateway.policy import GRANTED
from lightmoon_django.identity import Address, Position

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import Sink
    from lightmoon_django.gateway.client import Client
    from lightmoon_django.gateway.routes import StreamRoute
    from lightmoon_django.gateway.session import Session


class Since(TypedDict):
    """A position, as clients name it."""

    epoch: str
    seq: int


Meta = dict[str, Any]  # what a client says of its connection

_subscribe = parameters(
    "lm.subscribe", ("actor", str), ("key", str), ("since", Since | None, None), ("meta", Meta | None, None)
)
_present = parameters("lm.present", ("actor", str), ("key", str), ("meta", Meta))
_unsubscribe = parameters("lm.unsubscribe", ("actor", str), ("key", str))


def subscribe(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> Awaitable[None] | None:
    """Follow an actor. Every later frame follows on the answer: what was missed since a position, or the view."""
    session = session_of(client)
    actor, key, given, meta = _subscribe.from_wire(params)
    since = None if given is None else Position(given["epoch"], given["seq"])
    hub = session.hub
    route = hub.stream(actor)
    key = route.canonical(key)
    if meta is not None:
        _check_meta(route, meta)
    fingerprint = session.fingerprint("lm.subscribe", params)
    if type(ident) is str and session.recall(ident, fingerprint, sink):
        return None
    session.check_alive()
    _check_room(session, Address(route.message.actor.name, key))
    now = hub.monotonic()
    session.spend(now)
    call = WireSubscription(
        route.message, key, route.deadline(now), session, sink, request_id, ident, fingerprint, since, meta
    )
    refusal = route.policy.known(session, key, now)
    hidden = route.guards.known(session, key, now)
    if refusal is None or (hidden is None and refusal == GRANTED):
        return _judged(route, session, call)
    if refusal != GRANTED:
        raise Forbidden(refusal)
    assert hidden is not None
    call.hidden = hidden
    session.follow(call)
    return None


def _check_room(session: Session, address: Address) -> None:
    limit = session.hub.settings.MAX_SUBSCRIPTIONS
    if session.followed >= limit and not session.follows(address):
        raise Overloaded(f"A session may follow {limit} streams at once.")


async def _judged(route: StreamRoute, session: Session, call: WireSubscription) -> None:
    refusal, call.hidden = await route.judge(session, call.key)
    if refusal != GRANTED:
        raise Forbidden(refusal)
    session.check_alive()
    _check_room(session, call.address)
    if type(call.ident) is str and session.recall(call.ident, call.fingerprint, call.sink):
        return  # sent again by another request, and judged sooner
    call.user = session.user
    session.follow(call)


def unsubscribe(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> None:
    """Follow an actor no longer. Nothing of its stream comes after the answer."""
    session = session_of(client)
    actor, key = _unsubscribe.from_wire(params)
    session.unfollow(Address(actor, key))
    answer(sink, request_id, None)


def present(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> None:
    """Show others who follow an actor something else of this connection, which follows it."""
    session = session_of(client)
    actor, key, meta = _present.from_wire(params)
    route = session.hub.stream(actor)
    _check_meta(route, meta)
    session.spend(session.hub.monotonic())
    if not session.describe(Address(route.message.actor.name, route.canonical(key)), meta):
        raise Conflict("This session doesn't follow that actor. Say it with lm.subscribe.")
    answer(sink, request_id, None)


def _check_meta(route: StreamRoute, meta: Meta) -> None:
    if route.message.actor.presence is None:
        raise InvalidParams(f"{route.message.actor.name} tells nobody who follows it: it takes no meta.", path="$.meta")
    limit = route.hub.settings.PRESENCE_META_BYTES
    size = len(codec.encode_json(meta))
    if size > limit:
        raise InvalidParams(f"The meta of a connection may have {limit} bytes, and this has {size}.", path="$.meta")
