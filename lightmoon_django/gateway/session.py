"""A client that stays: an outbox, the streams that it follows, and its calls. It may outlive its connections.

A session is carried by one connection at a time. One that was given a token (`lm.hello`) lives on for `SESSION_GRACE`
when its connection is gone: what it is owed waits in a backlog, and a connection that shows the token takes it over.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest

from lightmoon_django.errors import Unavailable
from lightmoon_django.gateway import credentials, frames, tokens, users
from lightmoon_django.gateway.backlog import Backlog
from lightmoon_django.gateway.carrier import SIGNED_OUT, TAKEN_OVER, TRY_AGAIN_LATER, Carrier
from lightmoon_django.gateway.following import Follower
from lightmoon_django.gateway.origin import as_request
from lightmoon_django.gateway.outbox import Outbox, Waiting
from lightmoon_django.gateway.threads import in_thread

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import Wired
    from lightmoon_django.gateway.hub import Hub


class Session(Follower):
    """Implements `outbox.Owner`."""

    __slots__ = (
        "_backlog",
        "_scope",
        "carrier",
        "cookie",
        "earlier",
        "heir",
        "proven_at",
        "resumable",
    )

    remembers = True

    def __init__(
        self,
        hub: Hub,
        scope: Mapping[str, Any],
        user: Any,
        auth: Any = None,
        cookie: str | None = None,
        proof: str | None = None,
    ) -> None:
        """`cookie` is the key of the Django session that says who the user is, if one does. See `begin`."""
        super().__init__(hub, user, auth, proof)
        self.proven_at = hub.monotonic()
        self._scope = scope
        self.cookie = cookie
        self.earlier: str | None = None  # the id of the first session that this one goes on from
        self.heir: Session | None = None  # which took over what the client goes on to say
        self.resumable = False  # the client knows how to come back
        self.carrier: Carrier | None = None
        self._backlog: Backlog | None = None

    def begin(self, outbox: Outbox | None = None, carrier: Carrier | None = None) -> Session:
        """From now on it is known to the node. Without a carrier it waits for one."""
        self.outbox = self.backlog if outbox is None else outbox
        self.carrier = carrier
        self.hub.enter(self)
        if carrier is None:
            self.hub.grace.add(self)
        return self

    def check_alive(self) -> None:
        if self.id not in self.hub.sessions:
            raise Unavailable("This session has ended. Say lm.hello again.")

    def expect(self) -> None:
        """Answers are sent as they come."""

    def is_away(self, call: Wired) -> bool:
        return self.outbox is self._backlog and call.sink is self

    def answer(self, frame: str) -> None:
        """Send an answer."""
        self.outbox.send(frame)

    # Who it is

    def rebind(self, user: Any, auth: Any = None, proof: str | None = None) -> None:
        """The session is `user`'s from now on."""
        before = self.user_key
        self.hub.unlist(self)
        super().rebind(user, auth, proof)
        self.proven_at = self.hub.monotonic()
        self.hub.list(self)
        if before != self.user_key:
            self.forget_judgements()
            self._hand_over_streams()

    def _hand_over_streams(self) -> None:
        """They go on for another user, who sees no guarded event before it is judged. That is done at once."""
        for call in self.streams():
            call.hidden = call.schema.guarded
            if call.schema.presence is not None or call.schema.view_for is not None:
                self.withdraw(call.address, "another user")  # those know who follows them, and must be joined anew
        if self._streams:
            self.hub.sweep.examine((self,), afresh=True)

    def look_anew(self) -> None:
        """The user may see other things than before: join the streams anew where that depends on the user."""
        for call in self.streams():
            if call.schema.view_for is not None and call.established:
                self.withdraw(call.address, "access changed")

    def prove(self, auth: Any, proof: str) -> None:
        """The same user has shown another token."""
        self.auth, self.proof = auth, proof
        self.proven_at = self.hub.monotonic()

    async def refresh(self) -> None:
        """Load the user again: it may have been changed, or have lost its rights, in another process."""
        if self.authenticated:
            claim = credentials.claim_of(self)
            (verdict,) = await in_thread(credentials.judge, [claim])
            credentials.apply(self, claim, verdict)

    def sign_out(self, reason: str) -> None:
        """It is nobody's any more: "session", "token" or "user" is over. A WebSocket goes on, and its client hears why.

        Other sessions end: each request of theirs says anew who one is, and has no business with this one any more.
        """
        if not self.authenticated:
            return
        self.rebind(users.ANONYMOUS)
        self.cookie = None
        if self.carrier is not None and self.carrier.portable:
            self.outbox.send(frames.notification("lm.expired", {"reason": reason}))
        else:
            self.close(SIGNED_OUT)

    @property
    def now(self) -> Session:
        return self if self.heir is None else self.heir

    @property
    def lineage(self) -> str:
        """The name that stays when a session goes on from one that is lost."""
        return self.earlier or self.id

    @property
    def scope(self) -> str:
        """Within which a string id names one call, across the connections of one session and one user."""
        return f"{self.user_key}/{self.lineage}"

    def token(self) -> str:
        """What a later connection shows to go on with this session, which now outlives its connection."""
        self.resumable = True
        self.hub.resumable[self.lineage] = self
        return tokens.sign(self.user, self.lineage)

    def continue_(self, token: str) -> None:
        """Go on within the ids of a session that is lost, if it was this user's. Otherwise this one stays a new one."""
        claim = tokens.read(token)
        if claim is not None and claim.user == self.user_key:
            self.hub.retire(self)
            self.earlier = claim.lineage

    @property
    def address(self) -> str:
        return self.hub.rates.address_of(self._scope)

    def http_request(self, method: str) -> HttpRequest:
        """The handshake, as if it had been that request."""
        request = as_request({**self._scope, "method": method}, io.BytesIO())
        request.session = users.session_store(self.cookie)
        return request

    def began_to_follow(self) -> None:
        self.hub.sweep.watch(self)

    def ceased_to_follow(self) -> None:
        self.hub.sweep.unwatch(self)

    # Connections

    @property
    def backlog(self) -> Backlog:
        """What waits while no WebSocket carries the session. Its numbers go on for as long as the session lives."""
        if self._backlog is None:
            self._backlog = Backlog(self.hub.settings.OUTBOX_BYTES, self)
        return self._backlog

    def fetched_by(self, carrier: Carrier) -> Backlog:
        """An HTTP connection takes the session over, and fetches from its backlog."""
        self._carry(carrier)
        self._wait()
        return self.backlog

    def move_to(self, earlier: Session) -> None:
        """The client turned out to be an earlier session's: that one goes on over this connection, from `flush` on."""
        carrier, self.carrier = self.carrier, None
        self.heir = earlier
        earlier._carry(carrier)
        earlier._wait()
        earlier._scope, earlier.cookie = self._scope, self.cookie
        earlier.rebind(self.user, self.auth, self.proof)
        earlier.outbox, self.outbox.owner = self.outbox, earlier
        for call in self.streams():
            self.withdraw(call.address, "resumed")
        self.hub.leave(self)  # its calls are still answered through the outbox

    def flush(self) -> None:
        """Send what waited."""
        if self._backlog is not None and self.outbox is not self._backlog:
            for frame, droppable in self._backlog.drain():
                self.outbox.send(frame, droppable)

    def left(self, carrier: Carrier, *, for_good: bool = False) -> None:
        """A connection is gone. Nothing happens when another one carries the session."""
        if self.carrier is not carrier:
            return
        self.carrier = None
        if for_good or not self.resumable:
            self.end()
        else:
            self._wait()
            self.hub.grace.add(self)

    def lost(self, outbox: Outbox, frames: list[Waiting]) -> None:
        """Sending failed before the connection was seen to be gone: what follows waits already."""
        if outbox is self.outbox and self.resumable:
            self._wait(frames)

    def _carry(self, carrier: Carrier | None) -> None:
        earlier, self.carrier = self.carrier, carrier
        self.hub.grace.discard(self)
        if carrier is not None:
            carrier.session = self
        if earlier is not None:
            earlier.end(TAKEN_OVER)

    def _wait(self, frames: list[Waiting] | None = None) -> None:
        """From now on frames wait in the backlog, first those that the outbox still had."""
        backlog = self.backlog
        backlog.ready = None
        if self.outbox is not backlog:
            unsent = self.outbox.retrieve() if frames is None else frames
            self.outbox = backlog
            for frame, droppable in unsent:
                backlog.send(frame, droppable)

    # The end

    def overflowed(self) -> None:
        """The client reads too slowly, or is away for too long: it loses its streams, and is told so in the end."""
        self.interrupt("overflow")

    def drop(self) -> None:
        """End the session: too much waits for it."""
        self.close(TRY_AGAIN_LATER)

    def close(self, code: int) -> None:
        """End the session from the server's side, and its connection with a WebSocket close code."""
        carrier, self.carrier = self.carrier, None
        self.end()
        if carrier is not None:
            carrier.end(code)

    def end(self) -> None:
        """Nobody comes back: leave all streams, take back what is in flight, forget what waits."""
        self.outbox.close()
        for call in self.streams():
            self.unfollow(call.address)
        self.cancel_all()
        self.hub.leave(self)
        self._answers = None
