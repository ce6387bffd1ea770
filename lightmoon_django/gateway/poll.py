"""Long polls: `GET /lightmoon/poll`, for clients that have neither WebSocket nor event stream.

Each answer holds what waits for the session and a cursor, which the next poll sends back: only then is what was
answered forgotten. With nothing to tell the request is parked until the next heartbeat, without a task of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from lightmoon_django.gateway import downstream
from lightmoon_django.gateway.admission import Refusal
from lightmoon_django.gateway.http import respond
from lightmoon_django.gateway.hub import Hub, hub_of
from lightmoon_django.gateway.session import Session


class Poll:
    """One request that may be parked. Implements `carrier.Carrier`."""

    __slots__ = ("_over", "session")

    portable = False

    def __init__(self, hub: Hub) -> None:
        self._over: asyncio.Future[None] = hub.loop.create_future()
        self.session: Session

    def finish(self) -> None:
        """Answer now."""
        if not self._over.done():
            self._over.set_result(None)

    def end(self, code: int) -> None:
        self.finish()

    async def over(self) -> None:
        await self._over


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve one poll."""
    from lightmoon_django import host  # it wires this wing too

    hub = hub_of(host.switchboard())
    try:
        session = await downstream.session_of(scope, hub, hub.rates.addresses)
    except Refusal as refusal:
        await respond(send, refusal.status, refusal.body, refusal.headers)
        return
    poll = Poll(hub)
    backlog = downstream.take_over(session, poll, scope)
    found, cursor = [], backlog.cursor
    try:
        if backlog.empty:
            backlog.ready = poll.finish
            await _park(hub, poll)
        if session.carrier is poll:
            found = backlog.take()
    finally:
        session.left(poll)
    messages = ",".join(frame for _, frame in found)
    await respond(send, 200, f'{{"messages":[{messages}],"cursor":"{cursor + len(found)}"}}'.encode())


async def _park(hub: Hub, poll: Poll) -> None:
    hub.polls.add(poll)
    try:
        await poll.over()
    finally:
        hub.polls.discard(poll)
