"""What clients may do has changed, here or as another node says: those whom it concerns are judged again at once."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from lightmoon_django.gateway import hub as hubs

if TYPE_CHECKING:
    from lightmoon_django.gateway.hub import Hub
    from lightmoon_django.messages import AccessChange


def login_of(cookie: str) -> str:
    """The fingerprint of a Django session: its key is a secret that doesn't travel."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def apply(change: AccessChange) -> None:
    """Act on it, if any client is here. From any thread."""
    hub = hubs.current()
    if hub is not None:
        with contextlib.suppress(RuntimeError):  # its loop is closed
            hub.loop.call_soon_threadsafe(_apply, hub, change)


def _apply(hub: Hub, change: AccessChange) -> None:
    if change.user is None:
        hub.sweep.examine_all(afresh=True)
        return
    found = tuple(hub.by_user.get(change.user, ()))
    if change.logged_out:
        found = tuple(one for one in found if one.cookie and change.login in (None, login_of(one.cookie)))
        for session in found:
            session.sign_out("session")
    hub.sweep.examine(found, afresh=True)
