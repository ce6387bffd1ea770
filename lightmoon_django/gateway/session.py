"""A client that stays: a connection with an outbox and the streams that it follows."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest

from lightmoon_django.gateway import frames, transport, users
from lightmoon_django.gateway.client import Client
from lightmoon_django.gateway.origin import as_request
from lightmoon_django.gateway.outbox import Outbox, Send, UnpausedOutbox
from lightmoon_django.gateway.threads import in_thread
from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import WireSubscription
    from lightmoon_django.gateway.hub import Hub

TRY_AGAIN_LATER = 1013  # WebSocket close code


def _signer() -> Signer:
    return Signer(salt="lightmoon.session")


def _user_key(user: Any) -> str:
    return str(user.pk) if user is not None and user.is_authenticated else ""


class Session(Client):
    """One WebSocket. Implements `runtime.streams.Subscriber` and `outbox.Owner`."""

    __slots__ = ("_reader", "_scope", "_streams", "close_code", "cookie", "earlier", "outbox")

    remembers = True

    def __init__(self, hub: Hub, scope: Mapping[str, Any], send: Send, user: Any, cookie: str | None = None) -> None:
        """`cookie` is the key of the Django session that says who the user is, if one does."""
        super().__init__(hub, user)
        self._scope = scope
        backlog = transport.backlog_of(send)
        limit = hub.settings.OUTBOX_BYTES
        self.outbox = Outbox(send, limit, self) if backlog is None else UnpausedOutbox(send, limit, self, backlog)
        self.cookie = cookie
        self.close_code = 0  # set when the server ends the connection
        self.earlier: str | None = None  # the id of the first session that this one goes on from
        self._reader = asyncio.current_task()
        self._streams: dict[Address, WireSubscription] | None = None
        hub.enter(self)

    def expect(self) -> None:
        """Answers are sent as they come."""

    def answer(self, frame: str) -> None:
        """Send an answer."""
        self.outbox.send(frame)

    def push(self, frame: str) -> None:
        """Send a notification of a stream."""
        self.outbox.send(frame, True)

    def reset(self, address: Address, reason: str) -> None:
        """Say that a stream ended; the node has already forgotten the subscription."""
        if self._forget(address) is not None:
            self._say_reset(address, reason)

    def rebind(self, user: Any, auth: Any = None) -> None:
        """The session is `user`'s from now on."""
        self.hub.leave(self)
        super().rebind(user, auth)
        self.hub.enter(self)

    async def refresh(self) -> None:
        """Load the user again: it may have been changed, or have lost its rights, in another process."""
        if self.authenticated:
            self.succeed(await in_thread(users.reload, [self.user]))

    def succeed(self, fresh: Mapping[Any, Any]) -> None:
        """Take over a freshly loaded user, or nobody when the user may no longer come in."""
        found = users.successor(self.user, fresh, by_cookie=self.cookie is not None)
        if found is not self.user and self.id in self.hub.sessions:
            self.rebind(found, None if found is users.ANONYMOUS else self.auth)

    @property
    def scope(self) -> str:
        """Within which a string id names one call, across the connections of one session and one user."""
        return f"{_user_key(self.user)}/{self.earlier or self.id}"

    def token(self) -> str:
        """What a later connection says to go on from this session."""
        return _signer().sign(f"{_user_key(self.user)}/{self.earlier or self.id}")

    def continue_(self, token: str) -> None:
        """Go on from the session of that token, if it is this user's. Otherwise this one stays a new one."""
        try:
            user, _, earlier = _signer().unsign(token).rpartition("/")
        except BadSignature:
            return
        if user == _user_key(self.user):
            self.earlier = earlier

    def http_request(self, method: str) -> HttpRequest:
        """The handshake, as if it had been that request."""
        request = as_request({**self._scope, "method": method}, io.BytesIO())
        request.session = users.session_store(self.cookie)
        return request

    # Streams

    @property
    def followed(self) -> int:
        """How many streams it follows, or asked to follow."""
        return len(self._streams) if self._streams else 0

    def follows(self, address: Address) -> bool:
        """Whether it follows that stream, or asked to."""
        return self._streams is not None and address in self._streams

    def streams(self) -> tuple[WireSubscription, ...]:
        """The subscriptions that flow or will."""
        return tuple(self._streams.values()) if self._streams else ()

    def follow(self, call: WireSubscription) -> None:
        """Post a subscription. One that replaces another leaves the stream flowing if it fails."""
        if self._streams is None:
            self._streams = {}
        earlier = self._streams.get(call.address)
        call.established = earlier is not None and earlier.established
        self._streams[call.address] = call
        self.hub.sweep.watch(self)
        self.start(call)

    def joined(self, call: WireSubscription) -> None:
        """The node has subscribed this session; perhaps nobody wants it any more."""
        found = self._streams.get(call.address) if self._streams else None
        if found is not None:
            found.established = True
        else:
            self.hub.switchboard.unsubscribe(call.address, self, self.user)

    def refused(self, call: WireSubscription) -> None:
        """The node has not subscribed this session."""
        if self._streams and not call.established and self._streams.get(call.address) is call:
            self._forget(call.address)

    def unfollow(self, address: Address) -> bool:
        """Stop a stream at once, also one that is still being joined. Whether there was one."""
        call = self._forget(address)
        if call is None:
            return False
        if not call.established:
            self.hub.cancel(call)
        self.hub.switchboard.unsubscribe(address, self, self.user)
        return True

    def withdraw(self, address: Address, reason: str) -> None:
        """Stop a stream that the client may not or can't follow any longer, and say so."""
        if self.unfollow(address):
            self._say_reset(address, reason)

    def _forget(self, address: Address) -> WireSubscription | None:
        if not self._streams:
            return None
        call = self._streams.pop(address, None)
        if not self._streams:
            self._streams = None
            self.hub.sweep.unwatch(self)
        return call

    def _say_reset(self, address: Address, reason: str) -> None:
        params = {"actor": address.actor, "key": address.key, "reason": reason}
        self.outbox.send(frames.notification("lm.reset", params))

    # The end

    def overflowed(self) -> None:
        """The client reads too slowly: it loses its streams, and is told so once it reads again."""
        for call in self.streams():
            if call.established:
                self.withdraw(call.address, "overflow")

    def drop(self) -> None:
        """End the connection from the server's side."""
        self.close(TRY_AGAIN_LATER)

    def close(self, code: int) -> None:
        """End the connection with a WebSocket close code: the reader stops and says so."""
        if not self.close_code and self._reader is not None:
            self.close_code = code
            self._reader.cancel()

    def end(self) -> None:
        """The connection is gone: leave all streams, take back what is in flight, forget what waits."""
        self.outbox.close()
        self._reader = None
        for call in self.streams():
            self.unfollow(call.address)
        self.cancel_all()
        self.hub.leave(self)
        self._answers = None
