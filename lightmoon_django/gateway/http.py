"""The HTTP door: one POST, one call or one batch, answered in its body.

A POST stands alone, or (with the header LightMoon-Session) is the upstream half of a session whose messages come by
event stream or polls. A DELETE ends such a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import io
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from lightmoon_django.errors import Overloaded, ParseError
from lightmoon_django.gateway import admission, frames, rpc
from lightmoon_django.gateway.admission import Refusal, Visitor
from lightmoon_django.gateway.carrier import GOING_AWAY
from lightmoon_django.gateway.client import Client
from lightmoon_django.gateway.hub import Hub, hub_of
from lightmoon_django.gateway.origin import as_request
from lightmoon_django.gateway.session import Session

_JSON = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})
_OF_THE_BODY = frozenset({b"content-length", b"content-type", b"transfer-encoding"})


class Reply:
    """What will be the body of the answer. Implements `calls.Sink`."""

    __slots__ = ("_done", "_expected")

    def __init__(self, hub: Hub) -> None:
        self._expected = 0
        self._done: asyncio.Future[str] = hub.loop.create_future()

    def expect(self) -> None:
        self._expected += 1

    def answer(self, frame: str) -> None:
        if not self._done.done():
            self._done.set_result(frame)

    async def body(self) -> str | None:
        """The answer, when it is there. None to notifications alone."""
        return await self._done if self._expected else None


class Post(Client):
    """The client behind one POST without a session. It is gone after its answer, so ids are not remembered."""

    __slots__ = ("_cookie", "_request", "_scope")

    def __init__(
        self, hub: Hub, request: HttpRequest, visitor: Visitor, scope: Mapping[str, Any] | None = None
    ) -> None:
        """`scope` is that of ASGI: only there a session can have a stream."""
        super().__init__(hub, visitor.user, visitor.auth, visitor.proof)
        self._request = request
        self._cookie = visitor.cookie
        self._scope = scope

    @property
    def address(self) -> str:
        rates = self.hub.rates
        return rates.address_in(self._request.META) if self._scope is None else rates.address_of(self._scope)

    def http_request(self, method: str) -> HttpRequest:
        request = copy.copy(self._request)
        request.META = dict(request.META)
        request.method = method
        return request

    def begin_session(self) -> Session | None:
        if self._scope is None:
            return None
        self.spend(self.hub.monotonic())  # it is kept when this request is gone
        self.hub.rates.connections.take(self.address)
        if not self.hub.has_room():
            raise Overloaded("This server has as many clients as it may have.", retry_after=1.0)
        headers = [pair for pair in self._scope["headers"] if pair[0].lower() not in _OF_THE_BODY]
        scope = {**self._scope, "headers": headers}
        return Session(self.hub, scope, self.user, self.auth, self._cookie, self.proof).begin()


async def converse(client: Client, body: bytes) -> str | None:
    """The answer to a request body; None for notifications alone."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return frames.failure(frames.NULL, ParseError(f"Not UTF-8: {error}"))
    reply = Reply(client.hub)
    pending = rpc.receive(client, text, reply)
    if pending is not None:
        await pending
    return await reply.body()


async def converse_once(post: Post, body: bytes) -> str | None:
    """Like `converse`. Cancelled, it takes its calls back."""
    try:
        return await converse(post, body)
    finally:
        post.cancel_all()


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve one request to `/lightmoon/rpc` as an ASGI application."""
    from lightmoon_django import host  # it wires this wing too

    hub = hub_of(host.switchboard())
    try:
        if scope["method"] == "DELETE":
            await _end_session(scope, hub)
            await respond(send, 204, b"")
            return
        check(scope["method"], header(scope, b"content-type"), header(scope, b"content-length"), hub.request_limit)
        address = hub.rates.address_of(scope)
        unless_too_often(hub, address)
        body = await _read_body(receive, hub.request_limit)
        request = as_request(scope, io.BytesIO(body))
        visitor = await _visitor_of(hub, scope, request, address)
        token = header(scope, b"lightmoon-session")
        session = None
        if token:
            session = admission.session_of(hub, token, visitor)
            hub.grace.prolong(session)
            conversation = converse(session, body)
        else:
            conversation = converse_once(Post(hub, request, visitor, scope), body)
        answer = await _unless_gone(conversation, receive)
    except Refusal as refusal:
        await respond(send, refusal.status, refusal.body, refusal.headers)
    except ConnectionAbortedError:
        return
    else:
        await respond(send, 204 if answer is None else 200, (answer or "").encode(), _position(session))


def unless_too_often(hub: Hub, address: str) -> None:
    """Raise `Refusal` when the address has used up its calls: nothing else is done."""
    try:
        hub.rates.addresses.check(address)
    except Overloaded as error:
        raise admission.too_often(error) from None


def came_in_vain(hub: Hub, address: str) -> None:
    """To have come with what proves nothing counts as a call."""
    with contextlib.suppress(Overloaded):
        hub.rates.addresses.take(address)


async def _visitor_of(hub: Hub, scope: Mapping[str, Any], request: HttpRequest, address: str) -> Visitor:
    try:
        return await admission.visitor_of(scope, request)
    except Refusal:
        came_in_vain(hub, address)
        raise


async def _end_session(scope: Mapping[str, Any], hub: Hub) -> None:
    """The client says that it doesn't come back."""
    address = hub.rates.address_of(scope)
    unless_too_often(hub, address)
    visitor = await _visitor_of(hub, scope, as_request(scope, io.BytesIO()), address)
    admission.session_of(hub, header(scope, b"lightmoon-session"), visitor).close(GOING_AWAY)


def _position(session: Session | None) -> dict[str, str]:
    """The message that the answer stands behind, so that a client may put it there."""
    if session is None or session.outbox is not session.backlog:
        return {}
    return {"lightmoon-cursor": str(session.backlog.end)}


def check(method: str | None, content_type: str, content_length: str, limit: int) -> None:
    """Raise `Refusal` for what can't be a JSON-RPC request."""
    if method != "POST":
        raise Refusal(405, "Send JSON-RPC 2.0 by POST.", Allow="POST")
    if content_type.partition(";")[0].strip().lower() not in _JSON:
        raise Refusal(415, "The content type is application/json.")
    if content_length.isdigit() and int(content_length) > limit:
        raise too_large(limit)


def too_large(limit: int) -> Refusal:
    return Refusal(413, f"A request may have {limit} bytes.")


async def _read_body(receive: Any, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _unless_gone(conversation: Any, receive: Any) -> str | None:
    """The result of `conversation`, which is cancelled when the client goes. Raises `ConnectionAbortedError` then."""
    work = asyncio.ensure_future(conversation)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ConnectionAbortedError
        found: str | None = work.result()
        return found
    finally:
        gone.cancel()
        work.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def header(scope: Mapping[str, Any], name: bytes) -> str:
    return next((value.decode("latin1") for found, value in scope["headers"] if found.lower() == name), "")


async def respond(send: Any, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    """Send a whole response: JSON, or nothing with 204."""
    given = {"content-length": str(len(body)), "cache-control": "no-store", **(headers or {})}
    if status == 204:
        del given["content-length"]
    else:
        given.update({"content-type": "application/json", "x-content-type-options": "nosniff"})
    await send({"type": "http.response.start", "status": status, "headers": encoded(given)})
    await send({"type": "http.response.body", "body": body})


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin1")) for name, value in headers.items()]
