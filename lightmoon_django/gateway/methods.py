"""The methods of the protocol itself: everything a client can ask for that is no actor's message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.codec import Arguments
from lightmoon_django.errors import Forbidden, InvalidRequest, UpgradeNeeded
from lightmoon_django.gateway import credentials, frames, users
from lightmoon_django.gateway.session import Session
from lightmoon_django.gateway.threads import in_thread

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import Sink
    from lightmoon_django.gateway.client import Client

PROTOCOL = 1

Method = Callable[["Client", "Sink", str | None, Any, bytes], Awaitable[None] | None]


def parameters(name: str, *fields: tuple[Any, ...]) -> Arguments:
    """The parameters of a method, by name or by position."""
    return Arguments(name.replace(".", "_"), list(fields), lambda hint: hint, keyed=False)


def session_of(client: Client) -> Session:
    """The client as a session. Raises `InvalidRequest` for one that is gone after its answer."""
    if not isinstance(client, Session):
        raise InvalidRequest("That needs a session: a WebSocket, or lm.hello and the header LightMoon-Session.")
    return client


def answer(sink: Sink, request_id: str | None, value: Any) -> None:
    """Send a result, if one was asked for."""
    if request_id is not None:
        sink.answer(frames.result(request_id, codec.encode_json(value).decode()))


_hello = parameters(
    "lm.hello",
    ("protocol", int),
    ("client", str | None, None),
    ("schema", str | None, None),
    ("token", str | None, None),
    ("session", str | None, None),
)
_cancel = parameters("cancelRequest", ("id", str | int | float | None))


def hello(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> Awaitable[None] | None:
    """Agree on protocol and schema, and prove who one is by a token."""
    protocol, _, schema, token, session = _hello.from_wire(params)
    if protocol != PROTOCOL:
        raise UpgradeNeeded(f"This server speaks protocol {PROTOCOL}, not {protocol}.")
    if schema is not None and schema != client.hub.schema_hash:
        raise UpgradeNeeded("The client was generated from another schema. Load its proxies again.")
    if token is not None:
        return _welcome_by_token(client, sink, request_id, token, session)
    _welcome(client, sink, request_id, session)
    return None


async def _welcome_by_token(
    client: Client, sink: Sink, request_id: str | None, token: str, session: str | None
) -> None:
    client.spend(client.hub.monotonic())
    user, auth = await in_thread(users.by_hello, client.http_request("POST"), token)
    client.check_alive()
    if client.authenticated and client.user != user:
        raise Forbidden("This session is another user's. Connect anew to become someone else.")
    client.rebind(user, auth, token)
    _welcome(client, sink, request_id, session)


def _welcome(client: Client, sink: Sink, request_id: str | None, token: str | None) -> None:
    client.check_alive()
    settings = client.hub.settings
    session, recovered = _session_for(client, token)
    value = {
        "protocol": PROTOCOL,
        "session": session.token() if session is not None else None,
        "schema": client.hub.schema_hash,
        "heartbeat": settings.HEARTBEAT,
        "limits": {
            "request_bytes": settings.MAX_REQUEST_BYTES,
            "response_bytes": settings.MAX_RESPONSE_BYTES,
            "calls_per_second": settings.RATE_LIMIT,
            "burst": settings.RATE_BURST,
            "subscriptions": settings.MAX_SUBSCRIPTIONS,
        },
        "recovered": recovered,
        "expires": _seconds_left(client),
    }
    if session is not None and session is not client.now:  # it comes over HTTP, where messages are numbered
        value["cursor"] = str(session.backlog.cursor)
    answer(sink, request_id, value)
    if session is not None and recovered:
        session.flush()


def _seconds_left(client: Client) -> float | None:
    """Until the client's token ends, if it does. By then it should have shown another one."""
    when = credentials.expiry_of(client.auth)
    return None if when is None else max(0.0, round((when - client.hub.clock.now()).total_seconds(), 3))


def _session_for(client: Client, token: str | None) -> tuple[Session | None, bool]:
    """The client's session from now on, and whether it is the earlier one that the token names."""
    earlier = client.hub.recall(token, client.user) if token is not None else None
    if earlier is not None and earlier is not client:
        if isinstance(client, Session) and client.carrier is not None and client.carrier.portable:
            client.move_to(earlier)
        client.hub.grace.prolong(earlier)
        return earlier, True
    session = client if isinstance(client, Session) else client.begin_session()
    if session is not None and token is not None and earlier is None:
        session.continue_(token)
    return session, False


def ping(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> None:
    """Answer, to show that somebody is here."""
    answer(sink, request_id, None)


def discover(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> None:
    """The OpenRPC document."""
    client.spend(client.hub.monotonic())  # a small question with a large answer
    if request_id is not None:
        sink.answer(frames.result(request_id, client.hub.openrpc.decode()))


def cancel(client: Client, sink: Sink, request_id: str | None, ident: Any, params: bytes) -> None:
    """Take back a call of this client that is still in flight. Its own answer, or its error, still comes."""
    (wanted,) = _cancel.from_wire(params)
    if wanted is not None:
        client.cancel(wanted)
    answer(sink, request_id, None)
