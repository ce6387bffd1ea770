"""The connection to one process of this host, for what goes there."""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Callable
from typing import cast

from lightmoon_django.cluster.carriers import sockets
from lightmoon_django.cluster.carriers.descriptors import Descriptors
from lightmoon_django.cluster.carriers.framing import framed
from lightmoon_django.cluster.route import Changed
from lightmoon_django.cluster.wire import CHALLENGE

LIMIT = 256 * 1024  # bytes of a packet
BUFFER = 512 * 1024  # bytes that wait here for a slow reader before the path is full
PATIENCE = 1.0  # seconds; what is lost is lost with the connection, and that is told at once
CHALLENGED_WITHIN = 2.0  # seconds; who is stopped is connected to all the same, by the kernel
RECONNECT = 0.05  # seconds, doubling
RECONNECT_LONGEST = 2.0  # seconds; a connection that lasted longer starts anew at the shortest


class State(enum.Enum):
    """Where a path is in its life."""

    CONNECTING = "for the first time: worth waiting for"
    OPEN = "packets are taken"
    FULL = "the other end reads too slowly, or not at all"
    BROKEN = "nobody listens there; it is tried again"
    CLOSED = "for good"


class UnixPath(asyncio.Protocol):
    """Implements `route.CarrierPath`. Connects by itself, again and again, until it is closed."""

    limit = LIMIT
    patience = PATIENCE
    private = True
    prompt = True

    def __init__(
        self, where: str, proof: Callable[[bytes, str], bytes], descriptors: Descriptors, changed: Changed
    ) -> None:
        """`proof(challenge, where)` is what the listener wants to see first."""
        self._where = where
        self._proof = proof
        self._challenge = b""
        self._descriptors = descriptors
        self._changed = changed
        self._state = State.CONNECTING
        self.alive, self.ready = True, False  # kept beside it, as every packet asks
        self._transport: asyncio.Transport | None = None
        self._fd = -1
        self._wait = RECONNECT
        self._opened_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._connecting: asyncio.Task[None] | None = self._loop.create_task(self._connect())

    def send(self, packet: bytes) -> None:
        if self._transport is not None:
            self._transport.write(framed(packet))

    def _become(self, state: State) -> None:
        self._state = state
        self.alive = state is not State.BROKEN and state is not State.CLOSED
        self.ready = state is State.OPEN

    def close(self) -> None:
        """What was written still leaves, if the other end reads it."""
        self._become(State.CLOSED)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._release()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport = transport
        fd = transport.get_extra_info("socket").fileno()
        if self._state is State.CLOSED or not sockets.is_own(fd):
            transport.abort()
            return
        self._fd = fd
        self._descriptors.add(fd)
        transport.set_write_buffer_limits(high=BUFFER)
        self._challenge = b""
        self._opened_at = 0.0
        self._loop.call_later(CHALLENGED_WITHIN, self._unchallenged, transport)

    def data_received(self, data: bytes) -> None:
        if self._opened_at or self._transport is None:  # nothing else is expected from there
            return
        self._challenge += data
        if len(self._challenge) < CHALLENGE:
            return
        self._transport.write(self._proof(self._challenge[:CHALLENGE], self._where))
        self._opened_at = self._loop.time()
        if self._state is State.CLOSED:
            return
        again = self._state is State.BROKEN
        self._become(State.OPEN)
        self._changed(again)

    def _unchallenged(self, transport: asyncio.Transport) -> None:
        if transport is self._transport and not self._opened_at:
            transport.abort()

    def pause_writing(self) -> None:
        if self._state is State.OPEN:
            self._become(State.FULL)

    def resume_writing(self) -> None:
        if self._state is State.FULL:
            self._become(State.OPEN)
            self._changed(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._release()
        self._transport = None
        if self._state is State.CLOSED:
            return
        if self._opened_at and self._loop.time() - self._opened_at > RECONNECT_LONGEST:
            self._wait = RECONNECT
        self._connecting = self._loop.create_task(self._connect(later=True))
        self._break()

    async def _connect(self, *, later: bool = False) -> None:
        while self._state is not State.CLOSED:
            if later:
                await asyncio.sleep(self._wait * random.uniform(0.5, 1.0))
                self._wait = min(2 * self._wait, RECONNECT_LONGEST)
            try:
                await self._loop.create_unix_connection(lambda: self, self._where)
            except OSError:
                self._break()
                later = True
            else:
                return

    def _break(self) -> None:
        if self._state is not State.BROKEN:
            self._become(State.BROKEN)
            self._changed(True)

    def _release(self) -> None:
        self._descriptors.discard(self._fd)
        self._fd = -1
