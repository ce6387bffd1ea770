"""A TCP proxy that tests can cut: what a network does to clients."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence


class Proxy:
    """Carries connections to a port of this machine, in threads of its own. A context manager.

    Connections that ask for something in `refused` are broken; what is answered to something in `buffered` is kept
    until the answer has ended.
    """

    def __init__(self, target: int, *, refused: Sequence[bytes] = (), buffered: Sequence[bytes] = ()) -> None:
        self._target = target
        self._refused = refused
        self._buffered = buffered
        self._dead: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._away = False
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Proxy:
        self._spawn(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def cut(self) -> None:
        """Break all connections, and every new one until `mend`."""
        with self._lock:
            self._away = True
            for end in self._ends:
                _break(end)

    def silence(self) -> None:
        """All connections stay open, and nothing that is sent over them arrives any more. New ones work."""
        with self._lock:
            self._dead |= self._ends

    def mend(self) -> None:
        self._away = False

    def _spawn(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # until it is shut down
            while True:
                self._spawn(self._carry, self._listener.accept()[0])

    def _carry(self, here: socket.socket) -> None:
        with here, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as there:
            with self._lock:
                if self._away:
                    return
                self._ends |= {here, there}
            flow = _Flow(self, here, there)
            back = threading.Thread(target=flow.answers, daemon=True)
            back.start()
            flow.requests()
            back.join()
            with self._lock:
                self._ends -= {here, there}

    def arrives(self, end: socket.socket) -> bool:
        """Whether bytes of this connection still come through."""
        return end not in self._dead

    def refuses(self, request: bytes) -> bool:
        return any(part in request for part in self._refused)

    def buffers(self, request: bytes) -> bool:
        return any(part in request for part in self._buffered)


class _Flow:
    """One connection. Either way carries bytes until an end is gone; then both are."""

    def __init__(self, proxy: Proxy, here: socket.socket, there: socket.socket) -> None:
        self._proxy, self._here, self._there = proxy, here, there
        self._kept: bytes | None = None  # what was answered since the answer must be kept

    def requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._here.recv(65536):
                if self._proxy.refuses(data):
                    break
                if self._proxy.buffers(data):
                    self._kept = b""
                if self._proxy.arrives(self._here):
                    self._there.sendall(data)
        self._end()

    def answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._there.recv(65536):
                if self._kept is not None:
                    self._kept += data
                elif self._proxy.arrives(self._here):
                    self._here.sendall(data)
            self._here.sendall(self._kept or b"")
        self._end()

    def _end(self) -> None:
        _break(self._here)
        _break(self._there)


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        end.shutdown(socket.SHUT_RDWR)
