"""What a client shows to go on with its session: the session's name and its user, signed.

A token is no proof of who somebody is: whoever shows it must be the user that it names, by cookie or Authorization.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from django.conf import settings as django_settings
from django.core.signing import BadSignature, Signer


class Claim(NamedTuple):
    """What a token says."""

    user: str
    lineage: str


def key_of(user: Any) -> str:
    """The user as tokens name it; empty for the anonymous."""
    return str(user.pk) if user is not None and user.is_authenticated else ""


def sign(user: Any, lineage: str) -> str:
    return _signer().sign(f"{key_of(user)}/{lineage}")


def read(token: str) -> Claim | None:
    """What the token says, or None if it isn't one of ours."""
    try:
        user, _, lineage = _signer().unsign(token).rpartition("/")
    except BadSignature:
        return None
    return Claim(user, lineage)


def _signer() -> Signer:
    return _signer_of(django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)


@functools.lru_cache(4)
def _signer_of(key: str | bytes, *fallbacks: str | bytes) -> Signer:
    """Making one costs as much as signing: a server has one for all who come back at once."""
    return Signer(key=key, fallback_keys=list(fallbacks), salt="lightmoon.session")
