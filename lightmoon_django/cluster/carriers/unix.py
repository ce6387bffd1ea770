"""Unix sockets between the processes of one host.

A connection carries packets one way: who has something to say connects. So there is nothing to agree on when two
nodes turn to each other at the same time, and the end of a process is seen at once by all who write to it.

The kernel lets nobody but this user's processes connect. Which of those are nodes of this project is settled once per
connection: the listener sends a challenge, and the opener's first bytes are its proof. What follows can come from
nobody else, so that the packets need no seal; sealing and opening was 40 % of what a link costs here.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import cast

from lightmoon_django.cluster.carriers import sockets
from lightmoon_django.cluster.carriers.descriptors import Descriptors
from lightmoon_django.cluster.carriers.framing import Packets, TooLong
from lightmoon_django.cluster.carriers.unixpath import UnixPath
from lightmoon_django.cluster.route import Changed, Receiver
from lightmoon_django.cluster.wire import CHALLENGE, PROOF
from lightmoon_django.identity import Endpoint


class UnixCarrier:
    """Implements `route.Carrier`."""

    name = "unix"

    def __init__(self, incarnation: int, *, host: str, directory: Path | None = None) -> None:
        """`host` as in `Endpoint`: only nodes with the same one are reached. Raises what `private_directory` raises."""
        self._host = host
        self._directory = directory or sockets.private_directory()
        self._path = sockets.socket_path(self._directory, incarnation)
        self._descriptors = Descriptors()
        self._incoming: set[Incoming] = set()
        self._server: asyncio.Server | None = None
        self._listening_fd = -1
        self._receiver: Receiver

    @property
    def socket(self) -> str:
        """For the node's `Endpoint`."""
        return str(self._path)

    async def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        sockets.remove_stale(self._directory)
        listening = sockets.listen(self._path)
        self._listening_fd = listening.fileno()
        self._descriptors.add(self._listening_fd)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(
            lambda: Incoming(receiver, self.socket, self._incoming, self._descriptors), sock=listening
        )

    async def stop(self) -> None:
        if self._server is None:
            return
        self._path.unlink(missing_ok=True)
        self._descriptors.discard(self._listening_fd)
        self._server.close()
        for connection in list(self._incoming):
            connection.close()

    def open(self, endpoint: Endpoint, changed: Changed) -> UnixPath | None:
        if not endpoint.socket or endpoint.host != self._host:
            return None
        return UnixPath(endpoint.socket, self._receiver.proof, self._descriptors, changed)


class Incoming(asyncio.Protocol):
    """A connection from another process, for what comes from there."""

    def __init__(self, receiver: Receiver, place: str, everybody: set[Incoming], descriptors: Descriptors) -> None:
        self._receiver = receiver
        self._place = place
        self._everybody = everybody
        self._descriptors = descriptors
        self._packets = Packets()
        self._challenge = secrets.token_bytes(CHALLENGE)
        self._proved = False
        self._proof = b""
        self._fd = -1
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport = transport
        fd = transport.get_extra_info("socket").fileno()
        if not sockets.is_own(fd):
            transport.abort()
            return
        self._fd = fd
        self._descriptors.add(fd)
        self._everybody.add(self)
        transport.write(self._challenge)

    def data_received(self, data: bytes) -> None:
        if self not in self._everybody:  # refused, or closed
            return
        if not self._proved:
            data = self._prove(data)
        try:
            packets = self._packets.feed(data)
        except TooLong:
            self.close()
            return
        for packet in packets:
            self._receiver.receive_private(packet)

    def _prove(self, data: bytes) -> bytes:
        """Take the proof. Returns what comes behind it."""
        self._proof += data
        if len(self._proof) < PROOF:
            return b""
        proof, rest = self._proof[:PROOF], self._proof[PROOF:]
        self._proof = b""
        self._proved = self._receiver.proves(proof, self._challenge, self._place)
        if self._proved:
            return rest
        self.close()
        return b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def close(self) -> None:
        self._leave()
        self._transport.abort()

    def _leave(self) -> None:
        self._descriptors.discard(self._fd)
        self._everybody.discard(self)
