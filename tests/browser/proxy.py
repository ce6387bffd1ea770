"""A TCP proxy that tests can cut: what a network does to clients."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Carries connections to a port of this machine, in threads of its own. A context manager."""

    def __init__(self, target: int) -> None:
        self._target = target
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
            back = threading.Thread(target=_pump, args=(there, here), daemon=True)
            back.start()
            _pump(here, there)
            back.join()
            with self._lock:
                self._ends -= {here, there}


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes until either end is gone; then both are."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _break(source)
    _break(target)


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        end.shutdown(socket.SHUT_RDWR)
