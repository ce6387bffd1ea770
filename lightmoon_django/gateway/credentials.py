"""Whether clients are still who they have shown to be: their users, their Django sessions, their tokens.

Looked at together, in one thread: what would be a query for each client is one for hundreds.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings as django_settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.utils import timezone

from lightmoon_django.errors import Forbidden
from lightmoon_django.gateway import users

if TYPE_CHECKING:
    from lightmoon_django.gateway.session import Session

logger = logging.getLogger("lightmoon.gateway")

_CHUNK = 500  # keys per query


class Claim(NamedTuple):
    """Who a client is, and by what: the key of a Django session, or a token with the request that it came with."""

    user: Any
    cookie: str | None = None
    token: str | None = None
    request: HttpRequest | None = None


class Verdict(NamedTuple):
    """The client's user as it is now, with DRF's `auth` if a token was looked at; or why it is nobody any more."""

    user: Any
    auth: Any = None
    lost: str = ""  # "user", "session" or "token"


def claim_of(session: Session, *, afresh: bool = False) -> Claim:
    """What is to be judged of a session; `afresh`: its token too, which else is looked at every `CREDENTIAL_TTL`."""
    hub = session.hub
    if session.proof is None or not (afresh or hub.monotonic() - session.proven_at >= hub.settings.CREDENTIAL_TTL):
        return Claim(session.user, session.cookie)
    return Claim(session.user, session.cookie, session.proof, session.http_request("GET"))


def apply(session: Session, claim: Claim, verdict: Verdict) -> None:
    """Let the session be its user as it is now, or nobody's. Not if it has become somebody else's meanwhile."""
    if session.user is not claim.user or session.id not in session.hub.sessions:
        return
    if verdict.lost:
        session.sign_out(verdict.lost)
    elif verdict.user is not session.user or claim.token is not None:
        altered = users.differ(claim.user, verdict.user)
        judged = claim.token is not None and session.proof == claim.token
        proven_at = session.hub.monotonic() if judged else session.proven_at
        session.rebind(verdict.user, (verdict.auth if judged else None) or session.auth, session.proof)
        session.proven_at = proven_at
        if altered:
            session.forget_judgements()
            session.look_anew()


def expired(session: Session) -> bool:
    """Whether the token has ended by which the session's user is known."""
    when = expiry_of(session.auth) if session.proof is not None else None
    return when is not None and when <= session.hub.clock.now()


def judge(claims: Iterable[Claim]) -> list[Verdict]:
    """Look at all of them. Blocks. Raises what the database raises."""
    claims = list(claims)
    fresh = users.reload(claim.user for claim in claims)
    standing = _standing({claim.cookie for claim in claims if claim.cookie is not None})
    return [_verdict(claim, fresh, standing) for claim in claims]


def _verdict(claim: Claim, fresh: Mapping[Any, Any], standing: Collection[str]) -> Verdict:
    if claim.cookie is not None and claim.cookie not in standing:
        return Verdict(users.ANONYMOUS, lost="session")
    user = users.successor(claim.user, fresh, by_cookie=claim.cookie is not None)
    if user is users.ANONYMOUS:
        return Verdict(user, lost="user")
    if claim.token is None or claim.request is None:
        return Verdict(user)
    try:
        found, auth = users.by_hello(claim.request, claim.token)
    except Forbidden:
        return Verdict(users.ANONYMOUS, lost="token")
    except Exception:  # who judges tokens is away, say; that is no reason to put anybody out
        logger.warning("A token can't be judged now.", exc_info=True, extra={"action": "token_unjudged"})
        return Verdict(user)
    return Verdict(user, auth) if found == user else Verdict(users.ANONYMOUS, lost="token")


def _standing(cookies: Collection[str]) -> Collection[str]:
    """Which of these Django sessions are still logged in."""
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    if not hasattr(store, "get_model_class"):
        return {cookie for cookie in cookies if SESSION_KEY in store(cookie)}
    model = store.get_model_class()
    keys, found = list(cookies), set[str]()
    for start in range(0, len(keys), _CHUNK):
        rows = model.objects.filter(session_key__in=keys[start : start + _CHUNK], expire_date__gt=timezone.now())
        found.update(rows.values_list("session_key", flat=True))
    return found


def expiry_of(auth: Any) -> datetime.datetime | None:
    """When the token ends that DRF's authentication has found, as far as it says so.

    By an attribute `expires` or `expiry`, as OAuth Toolkit's and Knox's have, or by the claim `exp` of a JWT.
    """
    for name in ("expires", "expiry"):
        found = getattr(auth, name, None)
        if isinstance(found, datetime.datetime):
            return found if timezone.is_aware(found) else timezone.make_aware(found)
    payload = auth if isinstance(auth, Mapping) else getattr(auth, "payload", None)
    exp = payload.get("exp") if isinstance(payload, Mapping) else None
    if isinstance(exp, (int, float)) and not isinstance(exp, bool) and 0 < exp < 1e11:
        return datetime.datetime.fromtimestamp(exp, datetime.UTC)
    return None
