"""Which pages may use a visitor's cookies: those of this site, and those in CSRF_TRUSTED_ORIGINS."""

from __future__ import annotations

import enum
import io
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from django.utils.http import is_same_domain

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HTTP = {"ws": "http", "wss": "https"}


class Origin(enum.Enum):
    """Where a request comes from."""

    ABSENT = "no browser names a page: a program, whose cookies prove nothing"
    OWN = "a page of this site or of a trusted one"
    FOREIGN = "any other page, or a sandboxed one that says null"


def origin_of(request: HttpRequest) -> Origin:
    """Judge the Origin header against the scheme and host of the request, as Django's CSRF check does."""
    given = request.META.get("HTTP_ORIGIN")
    if given is None:
        return Origin.ABSENT
    origin = _split(given)
    if origin is None:
        return Origin.FOREIGN
    return Origin.OWN if _is_own(request, origin) or _is_trusted(origin) else Origin.FOREIGN


def origin_of_handshake(scope: Mapping[str, Any]) -> Origin:
    """Likewise, of a connection. A program's, which names no page, costs no request."""
    if all(name.lower() != b"origin" for name, _ in scope["headers"]):
        return Origin.ABSENT
    return origin_of(as_request(scope, io.BytesIO()))


def as_request(scope: Mapping[str, Any], body: Any) -> ASGIRequest:
    """Django's request for a connection, also for a WebSocket's handshake, which then looks like a GET."""
    scheme = scope.get("scheme") or "http"
    http = {**scope, "scheme": _HTTP.get(scheme, scheme), "method": scope.get("method", "GET")}
    return ASGIRequest(http, body)


def _is_own(request: HttpRequest, origin: SplitResult) -> bool:
    try:
        own = _split(f"{request.scheme}://{request.get_host()}")
    except DisallowedHost:
        return False
    return own is not None and _place(own) == _place(origin)


def _is_trusted(origin: SplitResult) -> bool:
    return any(_matches(origin, pattern) for pattern in _trusted())


def _trusted() -> Iterable[SplitResult]:
    return (urlsplit(pattern) for pattern in django_settings.CSRF_TRUSTED_ORIGINS)


def _matches(origin: SplitResult, pattern: SplitResult) -> bool:
    if pattern.scheme != origin.scheme:
        return False
    if "*" not in pattern.netloc:
        return pattern.netloc.lower() == origin.netloc.lower()
    return is_same_domain(origin.netloc, pattern.netloc.lower().lstrip("*"))


def _split(text: str) -> SplitResult | None:
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        return None
    complete = found.scheme in _DEFAULT_PORTS and found.hostname and port != 0
    return found if complete and not (found.path or found.query or found.fragment or found.username) else None


def _place(origin: SplitResult) -> tuple[str, str | None, int]:
    return origin.scheme, origin.hostname, origin.port or _DEFAULT_PORTS[origin.scheme]
