"""Who may send a message or join a stream: DRF's permission classes, judged where they cost least.

AllowAny and IsAuthenticated are judged on the spot. Any other class may use the database, so it runs in a thread and
its judgement is kept for one client, message and key for `PERMISSION_TTL`. `async def has_permission` is awaited; what
can't be, as a part of a composition, is an error and no grant.
`request` and `view` are what a DRF view would have: messages that are `read_only`, events and subscriptions look like a
GET, others like a POST; the key stands in `view.kwargs`, and the name of the message or event in `view.action`.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404
from django.utils.module_loading import import_string
from rest_framework.exceptions import APIException
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated
from rest_framework.request import Request

from lightmoon_django.errors import UsageError
from lightmoon_django.gateway.threads import in_thread
from lightmoon_django.gateway.tokens import key_of

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import EventSchema, MessageSchema
    from lightmoon_django.gateway.client import Client

GRANTED = ""
REFUSED = "You may not do that."
NOT_AUTHENTICATED = "Log in first."


class MessageView:
    """What a permission class sees as its view."""

    def __init__(self, message: MessageSchema | EventSchema, key: str, request: Request) -> None:
        self.action = message.name
        self.actor = message.actor.cls
        self.kwargs = {"key": key, "pk": key}
        self.request = request
        if issubclass(self.actor, Model):
            self.queryset = self.actor._default_manager.all()

    def get_queryset(self) -> Any:
        return self.queryset


class Policy:
    """The permission classes of one message or event. A refusal is a text that says why; granted is the empty one."""

    __slots__ = ("_classes", "_message", "_method", "authenticated", "judged", "open")

    def __init__(self, message: MessageSchema | EventSchema, default: tuple[Any, ...], *, reads: bool = False) -> None:
        """`reads` says that nothing is asked but to see something."""
        self._method = "GET" if reads else "POST"
        chosen = message.permission_classes
        classes = default if chosen is None else chosen
        self._classes = tuple(import_string(one) if isinstance(one, str) else one for one in classes)
        self._message = message
        self.open = all(one is AllowAny for one in self._classes)
        self.authenticated = any(one is IsAuthenticated for one in self._classes)
        self.judged = not all(one in (AllowAny, IsAuthenticated) for one in self._classes)

    def known(self, client: Client, key: str, now: float) -> str | None:
        """The judgement as far as it needs no thread; None when `judge` must be asked."""
        if self.open:
            return GRANTED
        if self.authenticated and not client.authenticated:
            return NOT_AUTHENTICATED
        return client.judgement(self._message, key, now) if self.judged else GRANTED

    async def judge(self, client: Client, key: str) -> str:
        """Ask the permission classes, and keep the judgement for a while. What they raise by mistake is raised."""
        while True:
            await client.refresh()
            if self.authenticated and not client.authenticated:
                return NOT_AUTHENTICATED
            user, voided = client.user, client.voided
            refusal = await self._ask(client, key)
            if client.voided == voided and key_of(client.user) == key_of(user):
                break  # else it was of a right, or of a user, that was
        if client.user is user:
            client.remember(self._message, key, refusal)
        return refusal

    async def _ask(self, client: Client, key: str) -> str:
        permissions = [one() for one in self._classes]
        for one in permissions:
            mistake = mistake_of(one)
            if mistake is not None:
                raise UsageError(f"{self._message.name} of {self._message.actor.name} has {mistake}.")
        request = self._request(client)
        view = MessageView(self._message, key, request)
        blocking = [one for one in permissions if not _is_awaited(one) or judges_objects(one)]
        if blocking:
            refusal = await in_thread(self._ask_blocking, blocking, request, view, key)
            if refusal != GRANTED:
                return refusal
        for one in permissions:
            if _is_awaited(one) and not await one.has_permission(request, view):
                return _reason(one)
        return GRANTED

    def _ask_blocking(self, permissions: list[Any], request: Request, view: MessageView, key: str) -> str:
        try:
            for one in permissions:
                granted = _is_awaited(one) or one.has_permission(request, view)
                if not granted or not self._grants_object(one, request, view, key):
                    return _reason(one)
        except (APIException, PermissionDenied, Http404) as error:
            return str(getattr(error, "detail", "")) or REFUSED
        return GRANTED

    def _grants_object(self, permission: Any, request: Request, view: MessageView, key: str) -> bool:
        """Judge the stored row where a class looks at objects. An actor without a row is refused."""
        if not judges_objects(permission):
            return True
        found = view.queryset.filter(pk=key).first() if hasattr(view, "queryset") else None
        return found is not None and bool(permission.has_object_permission(request, view, found))

    def _request(self, client: Client) -> Request:
        request = Request(client.http_request(self._method))
        request.user = client.user
        request.auth = client.auth
        return request


def judges_objects(permission: Any) -> bool:
    """Whether a permission, or one of those it is composed of, has its own `has_object_permission`."""
    owns = [getattr(type(one), "has_object_permission", None) for one in _simple(permission)]
    return any(own is not None and own is not BasePermission.has_object_permission for own in owns)


def mistake_of(permission: Any) -> str | None:
    """What would be taken for a grant, because a coroutine that nobody awaits is true whatever it says."""
    simple = _simple(permission)
    if simple != [permission] and any(map(_is_awaited, simple)):
        return "a permission class that is composed of one with `async def has_permission`"
    if any(inspect.iscoroutinefunction(getattr(one, "has_object_permission", None)) for one in simple):
        return "a permission class with `async def has_object_permission`: that is asked in a thread, by a `def`"
    return None


def _simple(permission: Any) -> list[Any]:
    """What it is composed of, or itself."""
    parts = [getattr(permission, name) for name in ("op1", "op2") if hasattr(permission, name)]
    return [one for part in parts for one in _simple(part)] if parts else [permission]


def _is_awaited(permission: Any) -> bool:
    return inspect.iscoroutinefunction(permission.has_permission)


def _reason(permission: Any) -> str:
    return str(getattr(permission, "message", None) or REFUSED)
