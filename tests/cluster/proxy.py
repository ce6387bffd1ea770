"""A way between a node and a server that can be cut: nothing is refused and nothing is reset, it just stops.

That is how a network fails: whoever has sent something waits. When it heals, TCP sends what had been on its way, so it
arrives late; or a router in between has forgotten the connections of before, and they stay silent for ever.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Proxy:
    """From a TCP port of this host to a Unix socket, in threads of its own."""

    def __init__(self, target: str, host: str = "127.0.0.1") -> None:
        self._target = target
        self.host = host
        self._passing = threading.Event()
        self._passing.set()
        self._gates = {self._passing}  # those of the connections that were forgotten too
        self._ends: set[socket.socket] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._spawn(self._listen)

    def cut(self) -> None:
        """Nothing passes from now on. Connections stay open, and new ones are made but lead nowhere."""
        self._passing.clear()

    def heal(self, *, forget: bool = False) -> None:
        """Let pass what is new and what was held. With `forget`, the connections of before stay dead for ever."""
        if forget:  # they go on waiting for what never comes
            self._passing = threading.Event()
            self._gates.add(self._passing)
        self._passing.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for end in (self._listener, *self._ends):
                _break(end)
        for gate in self._gates:
            gate.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # until it is shut down
            while True:
                self._spawn(self._carry, self._listener.accept()[0])

    def _carry(self, here: socket.socket) -> None:
        passing = self._passing
        with here, contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as there:
            if not self._enter(here, there):
                return
            passing.wait()
            there.connect(self._target)
            back = threading.Thread(target=_pump, args=(there, here, passing), daemon=True)
            back.start()
            _pump(here, there, passing)
            back.join()
        with self._lock:
            self._ends -= {here, there}

    def _enter(self, *ends: socket.socket) -> bool:
        with self._lock:
            self._ends.update(ends)
            return not self._closed


def environment(database: Proxy | None = None, layer: Proxy | None = None) -> dict[str, str]:
    """For a process that is to go by these ways."""
    found = {}
    if database is not None:
        found["SERVER_PG"] = f"postgresql://postgres@{database.host}:{database.port}/postgres"
    if layer is not None:
        found["LAYER_REDIS"] = f"redis://{layer.host}:{layer.port}"
    return found


def _pump(source: socket.socket, sink: socket.socket, passing: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            passing.wait()
            sink.sendall(data)
    passing.wait()  # the end of a connection doesn't pass either
    _break(source)
    _break(sink)


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        end.shutdown(socket.SHUT_RDWR)
