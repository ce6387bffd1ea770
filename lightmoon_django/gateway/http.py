"""The HTTP door: one POST, one call or one batch, answered in its body."""

from __future__ import annotations

import asyncio
import copy
import io
import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from rest_framework.authentication import CSRFCheck

from lightmoon_django.errors import Forbidden, ParseError
from lightmoon_django.gateway import frames, rpc, users
from lightmoon_django.gateway.client import Client
from lightmoon_django.gateway.hub import Hub, hub_of
from lightmoon_django.gateway.origin import Origin, as_request, origin_of
from lightmoon_django.gateway.threads import in_thread

_JSON = frozenset({"application/json", "application/json-rpc", "application/jsonrequest"})


class Refusal(Exception):
    """What came is no JSON-RPC, or may not come: an HTTP status instead of an answer."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def body(self) -> bytes:
        return json.dumps({"detail": str(self)}).encode()


class Post(Client):
    """The client behind one POST. It is gone after its answer, so ids are not remembered. A `Sink` itself."""

    __slots__ = ("_done", "_expected", "_request")

    def __init__(self, hub: Hub, request: HttpRequest, user: Any, auth: Any) -> None:
        super().__init__(hub, user, auth)
        self._request = request
        self._expected = 0
        self._done: asyncio.Future[str] = hub.loop.create_future()

    def expect(self) -> None:
        self._expected += 1

    def answer(self, frame: str) -> None:
        if not self._done.done():
            self._done.set_result(frame)

    def http_request(self, method: str) -> HttpRequest:
        request = copy.copy(self._request)
        request.META = dict(request.META)
        request.method = method
        return request

    async def converse(self, body: bytes) -> str | None:
        """The answer to a request body; None for notifications alone. Cancelled, it takes its calls back."""
        try:
            try:
                text = body.decode()
            except UnicodeDecodeError as error:
                return frames.failure(frames.NULL, ParseError(f"Not UTF-8: {error}"))
            pending = rpc.receive(self, text, self)
            if pending is not None:
                await pending
            return await self._done if self._expected else None
        finally:
            self.cancel_all()


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve one request to `/lightmoon/rpc` as an ASGI application."""
    from lightmoon_django import host  # it wires this wing too

    hub = hub_of(host.switchboard())
    try:
        check(scope["method"], _header(scope, b"content-type"), _header(scope, b"content-length"), hub.request_limit)
        body = await _read_body(receive, hub.request_limit)
        request = as_request(scope, io.BytesIO(body))
        user, auth = await _identify(scope, request)
        answer = await _unless_gone(Post(hub, request, user, auth).converse(body), receive)
    except Refusal as refusal:
        await _send(send, refusal.status, refusal.body, refusal.headers)
    except ConnectionAbortedError:
        return
    else:
        await _send(send, 204 if answer is None else 200, (answer or "").encode())


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


def identify(request: HttpRequest) -> tuple[Any, Any]:
    """The user and `auth` of a request: by its Authorization header, else by its cookies, else nobody. Blocks.

    Cookies count only with Django's CSRF token. Raises `Refusal`.
    """
    if "HTTP_AUTHORIZATION" in request.META:
        try:
            found = users.by_token(request)
        except Forbidden as error:
            raise Refusal(401, error.message) from None
        if found is not None:
            return found
    user = _cookie_user(request)
    if user.is_authenticated:
        refused = _csrf_refusal(request)
        if refused:
            raise Refusal(403, f"CSRF: {refused}")
    return user, None


def refuse_foreign(request: HttpRequest) -> None:
    """Raise `Refusal` for a page of another site."""
    if origin_of(request) is Origin.FOREIGN:
        raise Refusal(403, "This origin is not trusted. See CSRF_TRUSTED_ORIGINS.")


def _cookie_user(request: HttpRequest) -> Any:
    if not hasattr(request, "user"):
        request.session = users.session_store(request.COOKIES.get(django_settings.SESSION_COOKIE_NAME))
        request.user = get_user(request)
    return users.plain(request.user)


def _csrf_refusal(request: HttpRequest) -> Any:
    middleware: Any = CSRFCheck(lambda request: None)  # type: ignore[arg-type]
    middleware.process_request(request)
    return middleware.process_view(request, None, (), {})


async def _identify(scope: Mapping[str, Any], request: HttpRequest) -> tuple[Any, Any]:
    """Like `identify`; no thread for who shows neither token nor session."""
    refuse_foreign(request)
    if "user" in scope:
        request.user = scope["user"]
        request.session = scope.get("session") or users.session_store(None)
    elif "HTTP_AUTHORIZATION" not in request.META and not users.has_session_cookie(scope):
        return users.ANONYMOUS, None
    return await in_thread(identify, request)


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


def _header(scope: Mapping[str, Any], name: bytes) -> str:
    return next((value.decode("latin1") for found, value in scope["headers"] if found.lower() == name), "")


async def _send(send: Any, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
    given = {"content-length": str(len(body)), "cache-control": "no-store", **(headers or {})}
    if status == 204:
        del given["content-length"]
    else:
        given.update({"content-type": "application/json", "x-content-type-options": "nosniff"})
    encoded = [(name.lower().encode(), value.encode("latin1")) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
