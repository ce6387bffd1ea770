"""The WebSocket door: one connection, one reader, and the session that it carries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from channels.consumer import AsyncConsumer

from lightmoon_django.errors import Overloaded, ParseError
from lightmoon_django.gateway import direct, frames, rpc, thrift, transport, users
from lightmoon_django.gateway.carrier import TRY_AGAIN_LATER
from lightmoon_django.gateway.hub import Hub, hub_of
from lightmoon_django.gateway.origin import Origin, origin_of_handshake
from lightmoon_django.gateway.outbox import Outbox, Send, UnpausedOutbox
from lightmoon_django.gateway.session import Session

FORBIDDEN = 4403  # WebSocket close code of a refused handshake; servers turn it into HTTP 403
GOODBYES = frozenset({1000, 1001})  # with these a client or its page ends on purpose, and doesn't come back


class LightMoonConsumer(AsyncConsumer):
    """The WebSocket endpoint as a Channels consumer, for `ProtocolTypeRouter` and `URLRouter`.

    It reads the connection itself: there is no channel, no channel layer and no thread hop per message. A `user` that
    middleware left in the scope is taken; otherwise the session cookie says who it is.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await serve(scope, receive, send)


class Socket:
    """One WebSocket. Implements `carrier.Carrier`."""

    __slots__ = ("_reader", "close_code", "session")

    portable = True

    def __init__(self) -> None:
        self._reader = asyncio.current_task()
        self.close_code = 0  # set when the server ends the connection
        self.session: Session  # whose frames come and go here; `lm.hello` may exchange it

    def end(self, code: int) -> None:
        """The reader stops, and closes the connection with that code."""
        if not self.close_code and self._reader is not None:
            self.close_code = code
            self._reader.cancel()

    async def read(self, receive: Any) -> int:
        """Every frame in its turn, until the client is gone. Answers its close code."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 0)
            pending = self._take(message.get("text"))
            del message  # it would stay until the next one comes
            if pending is not None:
                await pending
                del pending

    def _take(self, text: str | None) -> Awaitable[None] | None:
        session = self.session
        if text is not None:
            return rpc.receive(session, text, session)
        session.answer(frames.failure(frames.NULL, ParseError("A message is a text frame, not a binary one.")))
        return None


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve one WebSocket from its handshake to its end."""
    from lightmoon_django import host  # it wires this wing too

    hub = hub_of(host.switchboard())
    origin = origin_of_handshake(scope)
    if origin is Origin.FOREIGN:
        await _refuse(receive, send)
        return
    try:
        hub.rates.connections.take(hub.rates.address_of(scope))
    except Overloaded as error:
        await _send_away(receive, send, error.retry_after or 1.0)
        return
    user, cookie = await _identify(scope, origin)
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    thrift.lighten(receive)
    if not hub.has_room():
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "Try again later."})
        return
    socket = Socket()
    session = Session(hub, scope, user, cookie=cookie)
    protocol = direct.protocol_of(receive, send)
    socket.session = session.begin(_outbox(hub, send, session, protocol), socket)
    inbox = direct.Inbox(protocol, socket) if protocol is not None else None
    code = 0
    try:
        code = await socket.read(receive if inbox is None else inbox.receive)
    except asyncio.CancelledError:
        if not socket.close_code or not _was_ours():
            raise
        _say_goodbye(send, socket.close_code)
    finally:
        if inbox is not None:
            inbox.close()
        socket.session.left(socket, for_good=code in GOODBYES)


def _outbox(hub: Hub, send: Send, session: Session, protocol: Any | None) -> Outbox:
    limit = hub.settings.OUTBOX_BYTES
    if protocol is not None:
        return direct.DirectOutbox(send, limit, session, protocol)
    backlog = transport.backlog_of(send)
    return Outbox(send, limit, session) if backlog is None else UnpausedOutbox(send, limit, session, backlog)


async def _identify(scope: Mapping[str, Any], origin: Origin) -> tuple[Any, str | None]:
    """Who connects, and by which Django session. Without an Origin, cookies prove nothing."""
    if origin is Origin.ABSENT and ("user" not in scope or users.has_session_cookie(scope)):
        return users.ANONYMOUS, None
    found = scope if "user" in scope else await users.from_cookies(scope)
    user = users.plain(found["user"])
    session = found.get("session")
    return user, session.session_key if session is not None and user.is_authenticated else None


async def _refuse(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": FORBIDDEN})


async def _send_away(receive: Any, send: Any, retry_after: float) -> None:
    """To be told when to come back, a client must be let in first."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": frames.closing("overloaded", retry_after)})
    await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "Try again later."})


def _was_ours() -> bool:
    """Whether the reader was cancelled by its own session alone, and not by the server too."""
    task = asyncio.current_task()
    return task is not None and task.uncancel() == 0


def _say_goodbye(send: Any, code: int) -> None:
    """Close the connection without waiting for a client that doesn't read."""
    coroutine = send({"type": "websocket.close", "code": code})
    try:
        coroutine.send(None)
    except StopIteration:
        return
    except Exception:  # it is gone already
        return
    coroutine.close()
    transport.abort(send)
