"""Many WebSocket connections of one process, opened in batches and read through one epoll."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from bench.load import wire

BATCH = 100  # handshakes in flight; a server's backlog is larger
CROWD = 500  # that ask one actor at once; its mailbox is bounded
PATIENCE = 120.0  # seconds that opening all connections may take
FAR_BUFFER = 4096  # bytes that the kernel keeps of what was not read
FAR_PACKET = 1400  # bytes; the server's kernel keeps room for a number of packets, which have 64 KiB on one machine


class Disconnected(Exception):
    """The server closed a connection, or refused it."""


class Connection:
    """One WebSocket. `send` takes a whole frame."""

    __slots__ = ("fd", "index", "key", "ready", "recv", "rest", "seen", "send", "sent_at", "socket")

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self.index = index
        self.recv = sock.recv
        self.send = sock.send
        self.rest = b""  # the start of a frame whose end has not come yet
        self.sent_at = 0.0
        self.key = 0
        self.seen = 0
        self.ready = False  # it got the answer that it waited for

    def frames(self, data: bytes) -> list[bytes]:
        """The text payloads in what was received. Answers pings; raises `Disconnected` at a close."""
        found, self.rest = wire.cut(self.rest + data)
        texts = []
        for opcode, payload in found:
            if opcode == wire.OPCODE_TEXT:
                texts.append(payload)
            elif opcode == wire.OPCODE_PING:
                self.send(wire.frame(payload, 0xA))
            elif opcode == wire.OPCODE_CLOSE:
                code = int.from_bytes(payload[:2], "big")
                raise Disconnected(f"The server closed a connection: {code} {payload[2:].decode(errors='replace')}")
        return texts


class Pool:
    """Connections to one path of one server, and the epoll that watches them."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.far = False  # whether connections are like one from another place: small packets, little room for them
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}

    def open(self, path: str, count: int) -> list[Connection]:
        """Open `count` more. Raises `Disconnected` when the server refuses one."""
        opened: list[Connection] = []
        request = wire.upgrade_request(self._host, self._port, path)
        until = time.monotonic() + PATIENCE
        while len(opened) < count:
            batch = [self._connect(len(opened) + n, request) for n in range(min(BATCH, count - len(opened)))]
            for connection in batch:
                connection.socket.settimeout(max(0.1, until - time.monotonic()))
                connection.rest = _upgraded(connection)
                connection.socket.setblocking(False)
                self.epoll.register(connection.fd, select.EPOLLIN)
                self.connections[connection.fd] = connection
            opened += batch
        return opened

    def _connect(self, index: int, request: bytes) -> Connection:
        sock = socket.socket()
        if self.far:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FAR_BUFFER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, FAR_PACKET)
        sock.connect((self._host, self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(request)
        return Connection(sock, index)

    def receive(self, timeout: float) -> list[tuple[Connection, list[bytes]]]:
        """What came in within `timeout` seconds, for the unhurried parts of a run."""
        found = []
        for fd, _ in self.epoll.poll(timeout):
            connection = self.connections[fd]
            found.append((connection, connection.frames(read(connection))))
        return found

    def close(self) -> None:
        for connection in self.connections.values():
            with contextlib.suppress(OSError):
                connection.socket.close()
        self.epoll.close()


def read(connection: Connection) -> bytes:
    """What has come in, up to a size that needs no mapping of memory; epoll reports the rest again."""
    data = connection.recv(16384)
    if not data:
        raise Disconnected("The server dropped a connection.")
    return data


def ask_all(pool: Pool, connections: list[Connection], payload: bytes, answer: bytes, patience: float) -> None:
    """Send `payload` on every connection and wait until each got a text that contains `answer`."""
    for start in range(0, len(connections), CROWD):
        _ask(pool, connections[start : start + CROWD], payload, answer, patience)


def _ask(pool: Pool, connections: list[Connection], payload: bytes, answer: bytes, patience: float) -> None:
    waiting = {connection.fd for connection in connections if not connection.ready}
    if payload:
        for connection in connections:
            connection.send(wire.frame(payload))
    until = time.monotonic() + patience
    found = [(connection, connection.frames(b"")) for connection in connections]  # what came with the handshake
    while waiting:
        if time.monotonic() > until:
            raise Disconnected(f"{len(waiting)} of {len(connections)} connections got no {answer!r} in {patience} s.")
        for connection, texts in found or pool.receive(0.5):
            for text in texts:
                if b'"error"' in text:
                    raise Disconnected(f"Expected {answer!r} and got {text[:300]!r}.")
                if answer in text:
                    connection.ready = True
                    waiting.discard(connection.fd)
        found = []


def drain(pool: Pool, quiet: float) -> None:
    """Read until nothing has come for `quiet` seconds."""
    while pool.receive(quiet):
        pass


def _upgraded(connection: Connection) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += read(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        raise Disconnected(f"The server refused the upgrade: {head[:200]!r}")
    return rest
