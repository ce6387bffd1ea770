"""What all clients of one node share: the ways to its actors, and who is here."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.actor import registry
from lightmoon_django.errors import ActorNotFound, MethodNotFound, Unavailable
from lightmoon_django.gateway import farewell, frames, lifespan, tokens
from lightmoon_django.gateway.carrier import GOING_AWAY
from lightmoon_django.gateway.expiry import Expiry
from lightmoon_django.gateway.rates import Rates
from lightmoon_django.gateway.routes import Route, StreamRoute
from lightmoon_django.gateway.sweep import Sweep

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call
    from lightmoon_django.gateway.poll import Poll
    from lightmoon_django.gateway.session import Session
    from lightmoon_django.gateway.sse import EventStream
    from lightmoon_django.gateway.switchboard import Switchboard

RETRY_AFTER = 0.5  # seconds after which clients come back at the earliest when a server was told to stop
RETURNS_PER_SECOND = 500  # clients of one server that come back elsewhere
ANSWERS_WITHIN = 3.0  # seconds that a server which stops waits for its clients' calls to end before it closes
_LOOK_AGAIN = 0.02  # seconds between looks whether they have


class Hub:
    """Belongs to the node's event loop, like everything it holds."""

    def __init__(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard
        self.settings = switchboard.settings
        self.clock = switchboard.clock
        self.monotonic = switchboard.clock.monotonic
        self.post: Callable[[Call], None] = switchboard.post
        self.cancel = switchboard.cancel
        self.closing = False  # the node is about to stop
        self.request_limit = self.settings.MAX_REQUEST_BYTES
        self.response_limit = self.settings.MAX_RESPONSE_BYTES
        self.loop = asyncio.get_running_loop()
        self.routes: dict[str, Route] = {}  # by method; only names that exist, or a client could fill it
        self.sessions: dict[str, Session] = {}
        self.resumable: dict[str, Session] = {}  # those that a client can come back to, by lineage
        self.grace: Expiry[Session] = Expiry(self.clock, self.settings.SESSION_GRACE, lambda session: session.end())
        self.polls: Expiry[Poll] = Expiry(self.clock, self.settings.HEARTBEAT, lambda poll: poll.finish())
        self.streams: Expiry[EventStream] = Expiry(self.clock, self.settings.HEARTBEAT, self._beat)
        self.by_user: dict[str, set[Session]] = {}  # authenticated sessions, by the user's key
        self.sweep = Sweep(self)
        self.rates = Rates(self.settings, self.monotonic)
        self._streams: dict[str, StreamRoute] = {}
        farewell.prepare(self._say_goodbye)

    def find(self, method: str) -> Route:
        """The way of an exposed message. Raises `MethodNotFound` for anything else, and doesn't say what it is."""
        actor, _, name = method.rpartition(".")
        schema = registry.by_name(actor)
        message = schema.exposed.get(name) if schema is not None else None
        if message is None:
            raise MethodNotFound(f"There is no method {method[:100]!r}.")
        route = self.routes[method] = Route(message, self)
        return route

    def stream(self, actor: str) -> StreamRoute:
        """The way to an actor's stream. Raises `ActorNotFound` where there is none that clients could follow."""
        found = self._streams.get(actor)
        if found is None:
            schema = registry.by_name(actor)
            if schema is None or not schema.reachable:
                raise ActorNotFound(f"There is no actor {actor[:100]!r}.")
            found = self._streams[actor] = StreamRoute(schema, self)
        return found

    def has_room(self) -> bool:
        """Whether a session may begin. The one that has been without a connection for longest makes room for it."""
        while len(self.sessions) >= self.settings.MAX_SESSIONS:
            absent = self.grace.oldest
            if absent is None:
                return False
            absent.end()
        return not self.closing

    async def _say_goodbye(self) -> None:
        """The server is told to stop, and does so when this returns."""
        self.say_closing("shutdown", RETRY_AFTER, max(RETRY_AFTER, len(self.sessions) / RETURNS_PER_SECOND))
        until = self.monotonic() + ANSWERS_WITHIN
        while any(session.waits for session in self.sessions.values()) and self.monotonic() < until:
            await asyncio.sleep(_LOOK_AGAIN)
        self.post = _refuse  # the answers of calls that still come would not get out any more
        if not lifespan.lives():
            await lifespan.end()

    def say_closing(self, reason: str, retry_after: float, spread: float = 0.0) -> None:
        """Tell every client, let nobody in any more, and end the responses that would go on for ever.

        Each is told another time to come back at, within `spread` seconds, or they would overrun the servers that stay.
        """
        self.closing = True
        for session in tuple(self.sessions.values()):
            later = round(retry_after + random.random() * spread, 3)
            session.outbox.send(frames.closing(reason, later))
            if session.carrier is not None and not session.carrier.portable:
                session.carrier.end(GOING_AWAY)

    def recall(self, token: str, user: Any) -> Session | None:
        """The living session of that token, if it is this user's."""
        claim = tokens.read(token)
        found = self.resumable.get(claim.lineage) if claim is not None else None
        if claim is None or found is None or not claim.user == tokens.key_of(found.user) == tokens.key_of(user):
            return None
        return found

    def enter(self, session: Session) -> None:
        """A session begins."""
        self.sessions[session.id] = session
        self.list(session)

    def leave(self, session: Session) -> None:
        """A session ends."""
        self.sessions.pop(session.id, None)
        self.retire(session)
        self.grace.discard(session)
        self.unlist(session)

    def retire(self, session: Session) -> None:
        """Nobody comes back to it by its present lineage."""
        if self.resumable.get(session.lineage) is session:
            del self.resumable[session.lineage]

    def list(self, session: Session) -> None:
        """The session is its user's from now on."""
        if session.authenticated:
            self.by_user.setdefault(tokens.key_of(session.user), set()).add(session)
            self.sweep.wake()

    def unlist(self, session: Session) -> None:
        """The session ends, or is about to be another user's."""
        if session.authenticated:
            key = tokens.key_of(session.user)
            found = self.by_user.get(key)
            if found is not None:
                found.discard(session)
                if not found:
                    del self.by_user[key]
                    self.sweep.rest()

    def _beat(self, stream: EventStream) -> None:
        stream.beat()
        self.streams.add(stream)

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


def _refuse(call: Call) -> None:
    call.reject(Unavailable("This server is stopping. The call did not run.", retry_after=RETRY_AFTER))


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
