"""Who may see and do what, after it has changed: `from lightmoon_django import access`.

What clients may do is judged when they ask, and again and again while they are here (`PERMISSION_TTL`). LightMoon
hears by itself of saved and deleted users, of logouts, and of changed groups and permissions, and judges at once those
whom it concerns. Of anything else that permission classes look at it must be told.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from lightmoon_django import testrun
from lightmoon_django.gateway import changes
from lightmoon_django.host import host
from lightmoon_django.messages import AccessChange


def changed(user: Any = None, *, using: str | None = None) -> None:
    """What this user may do has changed, or (without one) what anybody may.

    After the current transaction of the database `using`, all clients concerned are judged again: here, and in every
    process that this one has links to. Streams that they may not follow any more end. Works from any thread.
    """
    change = AccessChange(None if user is None else str(getattr(user, "pk", user)))
    transaction.on_commit(lambda: _announce(change, start=True), using=using)


def _announce(change: AccessChange, *, start: bool = False) -> None:
    changes.apply(change)
    node = host.anywhere() if start and not testrun.active() else host.node  # else nobody here knows other nodes
    if node is not None and not node.loop.is_closed():
        node.loop.call_soon_threadsafe(node.announce, change)


def connect() -> None:
    """Listen to what Django says of users."""
    user = get_user_model()
    post_save.connect(_user_saved, sender=user, dispatch_uid="lightmoon.access")
    post_delete.connect(_user_deleted, sender=user, dispatch_uid="lightmoon.access")
    user_logged_out.connect(_logged_out, dispatch_uid="lightmoon.access")
    for through in _permission_tables(user):
        m2m_changed.connect(_permissions_changed, sender=through, dispatch_uid="lightmoon.access")


def _permission_tables(user: Any) -> list[Any]:
    from django.contrib.auth.models import Group

    fields: list[Any] = [getattr(user, "groups", None), getattr(user, "user_permissions", None), Group.permissions]
    return [field.through for field in fields if hasattr(field, "through")]


def _user_saved(*, instance: Any, created: bool, using: str, update_fields: Any = None, **_: Any) -> None:
    if created or (update_fields and set(update_fields) == {"last_login"}):
        return  # nobody is here as that user yet; each login saves that field
    _user_deleted(instance=instance, using=using)


def _user_deleted(*, instance: Any, using: str, **_: Any) -> None:
    change = AccessChange(str(instance.pk))
    transaction.on_commit(lambda: _announce(change), using=using)


def _permissions_changed(*, action: str, using: str, **_: Any) -> None:
    if action.startswith("post_"):
        transaction.on_commit(lambda: _announce(AccessChange(None)), using=using)


def _logged_out(*, request: Any, user: Any, **_: Any) -> None:
    if user is None:
        return
    cookie = getattr(getattr(request, "session", None), "session_key", None)
    login = changes.login_of(cookie) if cookie else None
    _announce(AccessChange(str(user.pk), logged_out=True, login=login))
