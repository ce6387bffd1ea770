"""The event stream: `GET /lightmoon/sse`, for clients that can't have a WebSocket. Their calls come by POST."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from lightmoon_django.clock import Cancellable
from lightmoon_django.gateway import downstream, transport
from lightmoon_django.gateway.admission import Refusal
from lightmoon_django.gateway.backlog import Backlog
from lightmoon_django.gateway.http import encoded, respond
from lightmoon_django.gateway.hub import Hub, hub_of
from lightmoon_django.gateway.outbox import Send, resumed
from lightmoon_django.gateway.session import Session

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}
COMMENT = b":\n\n"
LOOK_AGAIN = 0.1  # seconds until a server that holds too much is asked anew


class EventStream:
    """One response that goes on. Implements `carrier.Carrier`.

    As in `outbox`, writes are stepped by hand: a client that reads quickly costs no task. While it reads slowly frames
    wait in the backlog, which is bounded.
    """

    __slots__ = ("_backlog", "_clock", "_held", "_limit", "_reader", "_send", "_task", "_timer", "ended", "session")

    portable = False

    def __init__(self, hub: Hub, send: Send) -> None:
        self._send = send
        self._held = transport.backlog_of(send)
        self._limit = hub.settings.OUTBOX_BYTES
        self._clock = hub.clock
        self._timer: Cancellable | None = None  # while the server holds too much
        self._reader = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None  # finishes a write that suspended
        self._backlog: Backlog | None = None
        self.ended = False  # by the server
        self.session: Session

    def follow(self, backlog: Backlog) -> None:
        """Send what waits there, and everything that comes."""
        self._backlog = backlog
        backlog.ready = self.send_waiting
        self._write(COMMENT)  # so that the client, and every proxy on the way, sees that it flows
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send what waits, unless the client is still reading what came before."""
        if self._task is not None or self._backlog is None or self._backlog.empty:
            return
        if self._is_full():
            self._look_later()
            return
        events = (f"id: {number}\ndata: {frame}\n\n" for number, frame in self._backlog.take())
        self._write("".join(events).encode())

    def beat(self) -> None:
        """Show that somebody is here. Nothing is added to what a slow client has still to read."""
        if self._task is None:
            self._write(COMMENT)
            self.send_waiting()

    def end(self, code: int) -> None:
        if not self.ended and self._reader is not None:
            self.ended = True
            self._reader.cancel()

    def close(self) -> None:
        """It is over: write nothing more."""
        self._backlog = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _is_full(self) -> bool:
        """For servers whose `send` never waits."""
        return self._held is not None and self._held() > self._limit

    def _look_later(self) -> None:
        """They don't say when the client has read it, either."""
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.send_waiting()

    def _write(self, body: bytes) -> None:
        coroutine = self._send({"type": "http.response.body", "body": body, "more_body": True})
        try:
            awaited = coroutine.send(None)
        except StopIteration:
            return
        except Exception:  # the client is gone; the server says so to the reader
            self._backlog = None
            return
        self._task = asyncio.get_running_loop().create_task(self._finish(coroutine, awaited))

    async def _finish(self, coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
        try:
            await resumed(coroutine, awaited)
        except Exception:  # the client is gone
            self._backlog = None
        self._task = None
        self.send_waiting()


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve one event stream from its request to its end."""
    from lightmoon_django import host  # it wires this wing too

    hub = hub_of(host.switchboard())
    try:
        session = await downstream.session_of(scope, hub, hub.rates.connections)
    except Refusal as refusal:
        await respond(send, refusal.status, refusal.body, refusal.headers)
        return
    stream = EventStream(hub, send)
    backlog = downstream.take_over(session, stream, scope)
    try:
        await send({"type": "http.response.start", "status": 200, "headers": encoded(HEADERS)})
        if session.carrier is stream:
            stream.follow(backlog)
            hub.streams.add(stream)
            while (await receive())["type"] != "http.disconnect":
                pass
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not stream.ended or task is None or task.uncancel():
            raise
    finally:
        hub.streams.discard(stream)
        stream.close()
        session.left(stream)
    if stream.ended:
        _finish(send)


def _finish(send: Send) -> None:
    """End the response without waiting for a client that doesn't read."""
    coroutine = send({"type": "http.response.body", "body": b""})
    try:
        coroutine.send(None)
    except (StopIteration, Exception):
        return
    coroutine.close()
    transport.abort(send)
