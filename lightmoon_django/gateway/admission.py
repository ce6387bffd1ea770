"""Who comes in over HTTP: the user by Authorization header or cookie, and the session that a token names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings as django_settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from rest_framework.authentication import CSRFCheck

from lightmoon_django.errors import Forbidden, Overloaded
from lightmoon_django.gateway import tokens, users
from lightmoon_django.gateway.origin import Origin, origin_of
from lightmoon_django.gateway.threads import in_thread

if TYPE_CHECKING:
    from lightmoon_django.gateway.hub import Hub
    from lightmoon_django.gateway.session import Session


class Refusal(Exception):
    """What came is no JSON-RPC, or may not come: an HTTP status instead of an answer."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def body(self) -> bytes:
        return json.dumps({"detail": str(self)}).encode()


def too_often(error: Overloaded) -> Refusal:
    """The refusal of a request over the rate."""
    return Refusal(429, error.message, Retry_After=str(math.ceil(error.retry_after or 1)))


class Visitor(NamedTuple):
    """Who asks. `auth` is DRF's. `cookie`, the key of a Django session, or `proof`, the Authorization, shows it."""

    user: Any
    auth: Any = None
    cookie: str | None = None
    proof: str | None = None


def identify(request: HttpRequest) -> Visitor:
    """By its Authorization header, else by its cookies, else nobody. Blocks.

    Cookies count only with Django's CSRF token where the method changes something. Raises `Refusal`.
    """
    if "HTTP_AUTHORIZATION" in request.META:
        try:
            found = users.by_token(request)
        except Forbidden as error:
            raise Refusal(401, error.message) from None
        if found is not None:
            return Visitor(*found, proof=request.META["HTTP_AUTHORIZATION"])
    user = _cookie_user(request)
    if not user.is_authenticated:
        return Visitor(user)
    refused = _csrf_refusal(request)
    if refused:
        raise Refusal(403, f"CSRF: {refused}")
    return Visitor(user, cookie=request.session.session_key)


async def visitor_of(scope: Mapping[str, Any], request: HttpRequest) -> Visitor:
    """Like `identify`; no thread for who shows neither token nor session."""
    refuse_foreign(request)
    if "user" in scope:
        request.user = scope["user"]
        request.session = scope.get("session") or users.session_store(None)
    elif "HTTP_AUTHORIZATION" not in request.META and not users.has_session_cookie(scope):
        return Visitor(users.ANONYMOUS)
    return await in_thread(identify, request)


def session_of(hub: Hub, token: str, visitor: Visitor) -> Session:
    """The living session of that token, which alone proves nothing. Raises `Refusal` unless it is this user's."""
    user = visitor.user
    claim = tokens.read(token)
    found = hub.resumable.get(claim.lineage) if claim is not None else None
    if claim is None or found is None:
        raise Refusal(410, "This session is gone. Say lm.hello again, and subscribe with the positions you have.")
    if not claim.user == tokens.key_of(found.user) == tokens.key_of(user):
        raise Refusal(403, "This session is another user's. Send its cookie or Authorization header too.")
    if visitor.proof is not None:
        found.prove(visitor.auth, visitor.proof)
    return found


def refuse_foreign(request: HttpRequest) -> None:
    """Raise `Refusal` for a page of another site."""
    if origin_of(request) is Origin.FOREIGN:
        raise Refusal(403, "This origin is not trusted. See CSRF_TRUSTED_ORIGINS.")


def _cookie_user(request: HttpRequest) -> Any:
    try:
        if not hasattr(request, "user"):
            request.session = users.session_store(request.COOKIES.get(django_settings.SESSION_COOKIE_NAME))
            request.user = get_user(request)
        return users.plain(request.user)
    except users.UNREADABLE:
        request.session = users.session_store(None)
        return users.ANONYMOUS


def _csrf_refusal(request: HttpRequest) -> Any:
    middleware: Any = CSRFCheck(lambda request: None)  # type: ignore[arg-type]
    middleware.process_request(request)
    return middleware.process_view(request, None, (), {})
