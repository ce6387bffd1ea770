"""Django says when a user changes or logs out; whoever listens as that user is judged again at once."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

if TYPE_CHECKING:
    from lightmoon_django.gateway.hub import Hub

_hub: weakref.ref[Hub] | None = None


def connect(hub: Hub) -> None:
    """Tell `hub` from now on, whichever thread a signal comes from."""
    global _hub
    _hub = weakref.ref(hub)
    user = get_user_model()
    post_save.connect(_user_saved, sender=user, dispatch_uid="lightmoon.gateway")
    post_delete.connect(_user_saved, sender=user, dispatch_uid="lightmoon.gateway")
    user_logged_out.connect(_logged_out, dispatch_uid="lightmoon.gateway")
    for through in _permission_tables(user):
        m2m_changed.connect(_permissions_changed, sender=through, dispatch_uid="lightmoon.gateway")


def _permission_tables(user: Any) -> list[Any]:
    from django.contrib.auth.models import Group

    fields: list[Any] = [getattr(user, "groups", None), getattr(user, "user_permissions", None), Group.permissions]
    return [field.through for field in fields if hasattr(field, "through")]


def _user_saved(*, instance: Any, using: str, update_fields: Any = None, **_: Any) -> None:
    if update_fields and set(update_fields) == {"last_login"}:
        return  # each login saves it
    key = instance.pk
    transaction.on_commit(lambda: _tell(lambda hub: hub.sweep.examine(hub.by_user.get(key, ()))), using=using)


def _permissions_changed(*, action: str, using: str, **_: Any) -> None:
    if action.startswith("post_"):
        transaction.on_commit(lambda: _tell(lambda hub: hub.sweep.examine_all()), using=using)


def _logged_out(*, request: Any, user: Any, **_: Any) -> None:
    if user is None:
        return
    cookie = getattr(getattr(request, "session", None), "session_key", None)
    key = user.pk
    _tell(lambda hub: _end_cookie(hub, key, cookie))


def _end_cookie(hub: Hub, key: Any, cookie: str | None) -> None:
    """The sessions that this login began are nobody's now; all of the user's where the login isn't known."""
    from lightmoon_django.gateway.users import ANONYMOUS

    found = hub.by_user.get(key, ())
    ended = [session for session in found if session.cookie is not None and cookie in (None, session.cookie)]
    for session in ended:
        session.rebind(ANONYMOUS)
    hub.sweep.examine(ended)


def _tell(action: Callable[[Hub], None]) -> None:
    hub = _hub() if _hub is not None else None
    if hub is not None:
        with contextlib.suppress(RuntimeError):  # its loop is closed
            hub.loop.call_soon_threadsafe(action, hub)
