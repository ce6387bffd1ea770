"""The stream of one actor as this client follows it: its events in order, and the state that it mirrors.

It is subscribed while anybody listens. Every frame has the position after its predecessor; where that fails, or the
server or the network break it off, it joins again and says where it stands. Either it gets what it missed, as if
nothing had happened, or a fresh state: then all listeners hear of a reset. There is never a silent gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lightmoon_django import codec
from lightmoon_django.client.backoff import Backoff
from lightmoon_django.client.events import Event, Reader
from lightmoon_django.client.presence import Presence
from lightmoon_django.errors import Forbidden, LightMoonError, OutcomeUnknown
from lightmoon_django.identity import Address

STABLE = 5.0  # seconds after which a subscription counts as a success


class StreamState(enum.Enum):
    IDLE = "nobody listens"
    JOINING = "the snapshot is awaited"
    LIVE = "frames follow each other without a gap"
    BROKEN = "it will join again: later, or with the next connection"


class Owner(Protocol):
    """The client, as a stream sees it."""

    backoff: Backoff

    def follow(self, stream: Stream) -> None: ...

    def unfollow(self, stream: Stream) -> None: ...

    def request(
        self,
        method: str,
        params: Any,
        resolve: Callable[[Any], object],
        reject: Callable[[LightMoonError], object],
        *,
        fleeting: bool = False,
    ) -> object: ...

    async def ask(self, method: str, params: Any) -> Any: ...


class Stream:
    def __init__(self, client: Owner, address: Address) -> None:
        self.address = address
        self.snapshot: dict[str, Any] | None = None  # replaced, never changed
        self._client = client
        self._loop = asyncio.get_running_loop()
        self.presence = Presence(self._loop, self._told_presence)
        self._meta: Any = None  # what others are shown of this connection
        self._state = StreamState.IDLE
        self._listeners: weakref.WeakSet[Reader[Any]] = weakref.WeakSet()
        self._kept = False  # followed without a listener
        self._awaited = 0  # by how many who listen when it flows
        self._waiting: list[asyncio.Future[None]] = []  # until it is live
        self._attempt = 0  # answers to earlier attempts don't count
        self._epoch: str | None = None
        self._seq = 0
        self._lost: str | None = None  # why listeners will be told of a reset
        self._backoff = Backoff(client.backoff.base / 5, client.backoff.cap)
        self._joined_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # Listeners

    def listen(self, listener: Reader[Any]) -> None:
        """Tell it of everything, until `unlisten` or until nobody holds it."""
        weakref.finalize(listener, self._leave_soon).atexit = False
        self._listeners.add(listener)
        self._need()

    def unlisten(self, listener: Reader[Any]) -> None:
        self._listeners.discard(listener)
        self._leave_soon()

    def keep(self, kept: bool) -> None:
        """Follow it whether or not anybody listens."""
        self._kept = kept
        if kept:
            self._need()
        else:
            self._leave_soon()

    async def live(self) -> None:
        """Until it flows, which whoever waits for it wants. Raises what the server refuses it with."""
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        self._awaited += 1
        try:
            self._need()
            if self._state is not StreamState.LIVE:
                await waiter
        finally:
            self._awaited -= 1
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            self._leave_soon()

    async def present(self, meta: Mapping[str, Any]) -> None:
        """Show others something else of this connection, now or with the next attempt to join.

        Raises what the server refuses it with. What is too much for it is as if it hadn't been said.
        """
        before, self._meta = self._meta, codec.decode_any(codec.encode_json(meta))
        said = self._meta
        if self._state not in (StreamState.JOINING, StreamState.LIVE):
            return
        try:
            await self._client.ask("lm.present", {**self._names, "meta": said})
        except OutcomeUnknown:
            pass  # on the next connection it is said again
        except LightMoonError as error:
            if self._meta is said and not error.retryable:
                self._meta = before
            raise

    def where(self) -> dict[str, Any]:
        """The position, as an event has it."""
        actor, key = self.address
        return {"actor": actor, "key": key, "epoch": self._epoch or "", "seq": self._seq}

    def _need(self) -> None:
        if self._state is StreamState.IDLE:
            self._enter(StreamState.BROKEN)
            self._client.follow(self)

    def _leave_soon(self) -> None:
        """Who listens anew in the same breath stays subscribed. A reader may be collected in any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._leave_if_unused)

    def _leave_if_unused(self) -> None:
        if self._listeners or self._kept or self._awaited or self._state is StreamState.IDLE:
            return
        self._enter(StreamState.IDLE)
        self.snapshot = self._epoch = self._lost = self._meta = None
        self.presence.forget()
        self._client.unfollow(self)

    # The client

    def join(self) -> None:
        """There is a connection: subscribe on it."""
        attempt = self._enter(StreamState.JOINING)
        params: dict[str, Any] = {**self._names}
        if self._meta is not None:
            params["meta"] = self._meta
        if self._epoch is not None:
            params["since"] = {"epoch": self._epoch, "seq": self._seq}
        self._client.request(
            "lm.subscribe",
            params,
            lambda found: self._joined(found) if attempt == self._attempt else None,
            lambda error: self._failed(error) if attempt == self._attempt else None,
            fleeting=True,
        )

    def receive(self, method: str, params: dict[str, Any]) -> None:
        """A frame of this stream."""
        if method == "lm.reset":
            self._reset(params["reason"])
        elif method == "lm.presence":
            if self._state is StreamState.LIVE and not self.presence.take(params):
                self._reset("gap")
        elif self._state is StreamState.LIVE and self._follows(params):
            self._take(params)

    def disconnected(self) -> None:
        """The connection is gone; the client calls `join` when there is another."""
        if self._state is StreamState.LIVE:
            self._lost = "reconnected"
        self._backoff.reset()
        self.presence.disconnected()
        self._enter(StreamState.BROKEN)

    def close(self, error: LightMoonError, *, quietly: bool = False) -> None:
        """Nobody hears anything any more. `quietly`: readers end without an error."""
        self._enter(StreamState.IDLE)
        self._kept = False
        self._epoch = self.snapshot = self._meta = None
        self.presence.forget()
        for waiter in self._take_waiting():
            waiter.set_exception(error)
        for listener in tuple(self._listeners):
            if quietly:
                listener.closed()
            else:
                listener.failed(error)
        self._listeners.clear()

    def _joined(self, found: dict[str, Any]) -> None:
        attempt = self._enter(StreamState.LIVE)
        self._joined_at = self._loop.time()
        if found.get("presence") is not None:
            self.presence.snapshot(found["presence"])
        if found["recovered"]:
            self._lost = None
            for params in found["events"]:
                if attempt == self._attempt and self._follows(params):
                    self._take(params)
            if found["state"] is not None and attempt == self._attempt:  # where users see different things
                self._show(found["state"])
        else:
            self._begin(found)
        for waiter in self._take_waiting():
            waiter.set_result(None)

    def _begin(self, found: dict[str, Any]) -> None:
        self._epoch, self._seq = found["epoch"], found["seq"]
        self.snapshot = found["state"]
        reason, self._lost = self._lost, None
        for listener in tuple(self._listeners):
            if reason is not None:
                listener.reset(reason, self.snapshot)
            listener.changed(self.snapshot)

    def _told_presence(self, change: dict[str, Any]) -> None:
        for listener in tuple(self._listeners):
            listener.presence(change)

    @property
    def _names(self) -> dict[str, str]:
        return {"actor": self.address.actor, "key": self.address.key}

    def _failed(self, error: LightMoonError) -> None:
        if error.retryable or isinstance(error, OutcomeUnknown):
            self._join_later(error.retry_after or 0.0)
        else:
            self._refuse(error)

    def _refuse(self, error: LightMoonError) -> None:
        self.close(error)
        self._client.unfollow(self)

    def _take(self, params: dict[str, Any]) -> None:
        if "name" in params:
            event = Event(**{name: params[name] for name in Event.__dataclass_fields__})
            for listener in tuple(self._listeners):
                listener.event(event)
            return
        if "set" not in params:
            return  # something that isn't for this client
        changed = {**(self.snapshot or {}), **(params.get("set") or {})}
        for name in params.get("unset") or ():
            changed.pop(name, None)
        self._show(changed)

    def _show(self, state: dict[str, Any]) -> None:
        self.snapshot = state
        for listener in tuple(self._listeners):
            listener.changed(state)

    def _follows(self, params: dict[str, Any]) -> bool:
        epoch, seq = params["epoch"], params["seq"]
        if epoch == self._epoch and seq == self._seq + 1:
            self._seq = seq
            return True
        seen = self._epoch is not None and (epoch < self._epoch or (epoch == self._epoch and seq <= self._seq))
        if not seen:
            self._reset("gap")
        return False

    def _reset(self, reason: str) -> None:
        if self._state is not StreamState.LIVE:
            return
        if reason == "forbidden":
            self._refuse(Forbidden(f"This client may not follow {self.address} any longer."))
            return
        self._lost = reason
        if self._loop.time() - self._joined_at > STABLE:
            self._backoff.reset()
        self._join_later(0.0)

    def _join_later(self, least: float) -> None:
        self._enter(StreamState.BROKEN)
        delay = self._backoff.next(least)
        self._timer = self._loop.call_later(delay, self._client.follow, self)

    def _take_waiting(self) -> list[asyncio.Future[None]]:
        waiting, self._waiting = self._waiting, []
        return [one for one in waiting if not one.done()]

    def _enter(self, state: StreamState) -> int:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._state = state
        self._attempt += 1
        return self._attempt
