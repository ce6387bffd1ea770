"""Users of the tests, and how they prove who they are."""

from __future__ import annotations

import time
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

revoked: set[str] = set()  # names whose tokens count no more


def make_user(name: str) -> Any:
    return get_user_model().objects.create_user(name, password="secret")


def log_in(user: Any) -> str:
    """A Django session of that user; its key."""
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    assert store.session_key is not None
    return store.session_key


def cookie(key: str, **more: str) -> tuple[bytes, bytes]:
    """The Cookie header of a browser with that session."""
    pairs = {settings.SESSION_COOKIE_NAME: key, **more}
    return b"cookie", "; ".join(f"{name}={value}" for name, value in pairs.items()).encode()


async def browser(name: str) -> tuple[Any, tuple[bytes, bytes], str]:
    """A new user who has logged in: the user, the Cookie header, the session's key."""
    user = await sync_to_async(make_user)(name)
    key = await sync_to_async(log_in)(user)
    return user, cookie(key), key


class Ticket(dict[str, Any]):
    """What a JWT says."""


class NameToken(BaseAuthentication):
    """`Authorization: Name ada` is ada, `Name ada 1700000000` is until then. For tests only."""

    def authenticate(self, request: Any) -> tuple[Any, str] | None:
        kind, _, name = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if kind != "Name":
            return None
        name, _, exp = name.partition(" ")
        user = get_user_model().objects.filter(username=name).first()
        if user is None or name in revoked or (exp and float(exp) <= time.time()):
            raise AuthenticationFailed("No such name.")
        return user, Ticket(sub=name, exp=float(exp)) if exp else f"token of {name}"

    def authenticate_header(self, request: Any) -> str:
        return "Name"


BY_NAME = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "tests.gateway.people.NameToken",
    ]
}
