"""Who is asking: from cookies, from a token, and still the same some time later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from channels.auth import AuthMiddleware
from channels.sessions import CookieMiddleware, SessionMiddleware
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import DataError
from django.http import HttpRequest, parse_cookie
from django.utils.functional import LazyObject
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.settings import api_settings

from lightmoon_django.errors import Forbidden

ANONYMOUS = AnonymousUser()  # shared: a hundred thousand visitors need one
UNREADABLE = (DataError, ValueError)  # what was shown has a NUL, say, which not every database can be asked for
_CHUNK = 500  # ids per query


async def from_cookies(scope: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scope with `session` and `user` as Channels' middleware finds them. No thread for who has no session."""
    if not has_session_cookie(scope):
        return {**scope, "user": ANONYMOUS}
    found: list[Mapping[str, Any]] = []

    async def keep(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        found.append(scope)

    # The answers go to the server directly: through SessionMiddleware each would cost more than its call.
    stack: Any = CookieMiddleware(SessionMiddleware(AuthMiddleware(keep)))
    try:
        await stack(dict(scope), _nothing, _nothing)
    except UNREADABLE:
        return {**scope, "user": ANONYMOUS}
    return found[0]


async def _nothing(*_: Any) -> None:
    """Neither receives nor sends."""


def has_session_cookie(scope: Mapping[str, Any]) -> bool:
    """Whether the request carries a Django session at all."""
    wanted = django_settings.SESSION_COOKIE_NAME
    return any(
        name == b"cookie" and wanted in parse_cookie(value.decode("latin1")) for name, value in scope.get("headers", ())
    )


def by_token(request: HttpRequest) -> tuple[Any, Any] | None:
    """The user and `auth` that DRF's authentication finds in the Authorization header; None when none applies.

    Blocks. Raises `Forbidden` for a token that is wrong.
    """
    classes: Iterable[Any] = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    judged = Request(request)
    try:
        for one in classes:
            if issubclass(one, SessionAuthentication):
                continue  # cookies are judged elsewhere, with CSRF
            found: tuple[Any, Any] | None = one().authenticate(judged)
            if found is not None:
                return found
    except APIException as error:
        raise Forbidden(str(error.detail)) from None
    except UNREADABLE:
        raise Forbidden("The token can't be read.") from None
    return None


def by_hello(request: HttpRequest, token: str) -> tuple[Any, Any]:
    """Like `by_token`, for a token that came inside `lm.hello`. Raises `Forbidden` also when nothing recognises it."""
    if not _is_a_header(token):  # authentication classes count on it, and would fail
        raise Forbidden("The token has characters that no Authorization header can have.")
    request.META["HTTP_AUTHORIZATION"] = token
    found = by_token(request)
    if found is None:
        raise Forbidden("The token was not recognised. It has the form of an Authorization header, as 'Token 9944b…'.")
    return found


def _is_a_header(text: str) -> bool:
    return all(char.isprintable() or char == "\t" for char in text) and all(ord(char) < 256 for char in text)


def session_store(key: str | None) -> Any:
    """Django's session with that key, loaded when it is looked at."""
    return import_module(django_settings.SESSION_ENGINE).SessionStore(key)


def reload(users: Iterable[Any]) -> dict[Any, Any]:
    """Fresh copies of stored users by key; whoever is gone or inactive is missing. Blocks."""
    model = get_user_model()
    keys = list({user.pk for user in users if isinstance(user, model) and user.pk is not None})
    fresh: dict[Any, Any] = {}
    for start in range(0, len(keys), _CHUNK):
        found = model._default_manager.filter(pk__in=keys[start : start + _CHUNK])
        fresh.update((user.pk, user) for user in found if user.is_active)
    return fresh


def successor(user: Any, fresh: Mapping[Any, Any], *, by_cookie: bool) -> Any:
    """Who a client is after `reload`: the same user anew, or nobody. A new password ends sessions begun by cookie."""
    if not isinstance(user, get_user_model()):
        return user
    found = fresh.get(user.pk)
    if found is None or (by_cookie and found.password != user.password):
        return ANONYMOUS
    return found


def differ(user: Any, other: Any) -> bool:
    """Whether a stored user was changed between two loads."""
    if not isinstance(user, get_user_model()):
        return False
    names = [field.attname for field in user._meta.concrete_fields if field.name != "last_login"]
    return any(user.__dict__.get(name) != other.__dict__.get(name) for name in names)


def plain(user: Any) -> Any:
    """The user itself, where middleware left a lazy one that would hold its scope."""
    if isinstance(user, LazyObject):
        bool(user)  # loads it
        return user._wrapped
    return user
