"""What all clients of one node share: the ways to its actors, and who is here."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.actor import registry
from lightmoon_django.errors import ActorNotFound, MethodNotFound
from lightmoon_django.gateway import signals
from lightmoon_django.gateway.routes import Route
from lightmoon_django.gateway.sweep import Sweep

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import ActorSchema
    from lightmoon_django.gateway.session import Session
    from lightmoon_django.gateway.switchboard import Switchboard

_KNOWN_KEYS = 16_384  # of one actor class; a primary key's validators cost more than the rest of a call's way in


class Hub:
    """Belongs to the node's event loop, like everything it holds."""

    def __init__(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard
        self.settings = switchboard.settings
        self.clock = switchboard.clock
        self.monotonic = switchboard.clock.monotonic
        self.post = switchboard.post
        self.cancel = switchboard.cancel
        self.closing = False  # the node is about to stop
        self.request_limit = self.settings.MAX_REQUEST_BYTES
        self.response_limit = self.settings.MAX_RESPONSE_BYTES
        self.loop = asyncio.get_running_loop()
        self.routes: dict[str, Route] = {}  # by method; only names that exist, or a client could fill it
        self.sessions: dict[str, Session] = {}
        self.by_user: dict[Any, set[Session]] = {}  # authenticated sessions, by the user's key
        self.sweep = Sweep(self)
        self._streams: dict[str, Route] = {}
        self._keys: dict[str, Callable[[str], str]] = {}
        signals.connect(self)

    def find(self, method: str) -> Route:
        """The way of an exposed message. Raises `MethodNotFound` for anything else, and doesn't say what it is."""
        actor, _, name = method.rpartition(".")
        schema = registry.by_name(actor)
        message = schema.exposed.get(name) if schema is not None else None
        if message is None:
            raise MethodNotFound(f"There is no method {method[:100]!r}.")
        route = self.routes[method] = Route(message, self)
        return route

    def stream(self, actor: str) -> Route:
        """The way to an actor's stream. Raises `ActorNotFound` where there is none that clients could follow."""
        found = self._streams.get(actor)
        if found is None:
            schema = registry.by_name(actor)
            if schema is None or not (schema.exposed or schema.events or schema.view):
                raise ActorNotFound(f"There is no actor {actor[:100]!r}.")
            found = self._streams[actor] = Route(schema.subscription, self)
        return found

    def keys_of(self, schema: ActorSchema) -> Callable[[str], str]:
        """`schema.keys` with a memory of good keys, shared by all messages of the actor."""
        found = self._keys.get(schema.name)
        if found is None:
            found = self._keys[schema.name] = functools.lru_cache(_KNOWN_KEYS)(schema.keys)
        return found

    def enter(self, session: Session) -> None:
        """A session begins, or is now another user's."""
        self.sessions[session.id] = session
        if session.authenticated:
            self.by_user.setdefault(session.user.pk, set()).add(session)

    def leave(self, session: Session) -> None:
        """A session ends, or is about to be another user's."""
        self.sessions.pop(session.id, None)
        if session.authenticated:
            found = self.by_user.get(session.user.pk)
            if found is not None:
                found.discard(session)
                if not found:
                    del self.by_user[session.user.pk]

    @functools.cached_property
    def openrpc(self) -> bytes:
        """The answer of `rpc.discover`, encoded once."""
        from lightmoon_django.proxies import openrpc

        return codec.encode_json(openrpc.document())

    @functools.cached_property
    def schema_hash(self) -> str:
        """What clients' proxies are generated from, as a hash."""
        from lightmoon_django.proxies import manifest

        return manifest.schema_hash()


_current: Hub | None = None


def hub_of(switchboard: Switchboard) -> Hub:
    """The hub of this process's node. Call it on the node's loop."""
    global _current
    if _current is None or _current.switchboard is not switchboard:
        _current = Hub(switchboard)
    return _current


def current() -> Hub | None:
    """The hub of this process's node, if any client came yet."""
    return _current
