"""All clients of a server come back at once."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable

from bench.load import wire
from bench.load.connections import Connection, Disconnected, Pool, ask_all, read
from bench.load.jobs import Storm, Stormed
from bench.load.meters import Meter

AT_ONCE = 2000  # handshakes under way; below the server's backlog
PATIENCE = 120.0  # seconds


class _Client:
    """One that comes back: it connects, upgrades, greets with its session, and subscribes."""

    __slots__ = ("connection", "greeting", "step")

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting
        self.step = self.upgraded
        self.connection: Connection | None = None

    def upgraded(self, storm: _Comeback, data: bytes) -> bool:
        assert self.connection is not None
        self.connection.rest += data
        head, end, rest = self.connection.rest.partition(b"\r\n\r\n")
        if not end:
            return False
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise Disconnected(f"The server refused the upgrade: {head[:200]!r}")
        self.connection.rest = rest
        self.connection.send(self.greeting)
        self.step = self.greeted
        return False

    def greeted(self, storm: _Comeback, data: bytes) -> bool:
        text = self._answer(data, b'"h"')
        if text is None:
            return False
        storm.recovered += storm.mark in text
        assert self.connection is not None
        self.connection.send(storm.subscribe)
        self.step = self.subscribed
        return False

    def subscribed(self, storm: _Comeback, data: bytes) -> bool:
        return self._answer(data, storm.subscribed) is not None

    def _answer(self, data: bytes, wanted: bytes) -> bytes | None:
        assert self.connection is not None
        for text in self.connection.frames(data):
            if b'"error"' in text:
                raise Disconnected(f"Expected {wanted!r} and got {text[:300]!r}.")
            if wanted in text:
                return text
        return None


class _Comeback:
    def __init__(self, job: Storm, greetings: list[bytes]) -> None:
        self.subscribe, self.subscribed = wire.frame(job.subscribe.encode()), job.subscribed.encode()
        self.mark = job.recovered.encode()
        self.recovered = self.errors = 0
        self.first_error = ""
        self._address = (job.target.host, job.target.port)
        self._request = wire.upgrade_request(*self._address, job.target.path)
        self._waiting = [_Client(greeting) for greeting in greetings]
        self._epoll = select.epoll()
        self._under_way: dict[int, _Client] = {}
        self._back: list[_Client] = []

    def run(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._waiting or self._under_way:
            if time.monotonic() > until:
                raise Disconnected(f"{len(self._under_way)} clients are not back after {PATIENCE} s.")
            while self._waiting and len(self._under_way) < AT_ONCE:
                self._start(self._waiting.pop())
            for fd, events in self._epoll.poll(0.5):
                self._advance(fd, events)

    def _start(self, client: _Client) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self._address)
        client.connection = Connection(sock, 0)
        self._under_way[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _advance(self, fd: int, events: int) -> None:
        client = self._under_way[fd]
        connection = client.connection
        assert connection is not None
        try:
            if events & select.EPOLLOUT:
                failed = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if failed:
                    raise OSError(failed, os.strerror(failed))
                connection.send(self._request)
                self._epoll.modify(fd, select.EPOLLIN)
            elif client.step(self, read(connection)):
                self._end(fd, client)
        except (OSError, Disconnected) as error:
            self.errors += 1
            self.first_error = self.first_error or str(error)
            self._end(fd, client)

    def _end(self, fd: int, client: _Client) -> None:
        self._epoll.unregister(fd)
        del self._under_way[fd]
        self._back.append(client)  # and its connection stays open


def run(job: Storm, started: Callable[..., None]) -> Stormed:
    pool = Pool(job.target.host, job.target.port)
    opened = pool.open(job.target.path, job.connections)
    sessions = _sessions(pool, opened, job)
    for connection in opened:
        connection.ready = False
    ask_all(pool, opened, job.subscribe.encode(), job.subscribed.encode(), PATIENCE)
    pool.close()
    comeback = _Comeback(job, [wire.frame(job.again.replace("{session}", one).encode()) for one in sessions])
    meter = Meter(job.target, 1)
    started()
    meter.start()
    comeback.run()
    found = meter.stop(job.connections)
    return Stormed(
        count=job.connections,
        seconds=found.seconds,
        errors=comeback.errors,
        first_error=comeback.first_error,
        recovered=comeback.recovered,
        load_cpu=found.load_cpu,
        server_cpu=found.server_cpu,
    )


def _sessions(pool: Pool, opened: list[Connection], job: Storm) -> list[str]:
    found: list[str] = []
    for connection in opened:
        connection.send(wire.frame(job.greeting.encode()))
        if len(found) < len(opened) and connection.index % AT_ONCE == 0:
            found += _tokens(pool)
    until = time.monotonic() + PATIENCE
    while len(found) < len(opened):
        if time.monotonic() > until:
            raise Disconnected(f"Only {len(found)} of {len(opened)} clients were greeted in {PATIENCE} s.")
        found += _tokens(pool)
    return found


def _tokens(pool: Pool) -> list[str]:
    texts = [text for _, texts in pool.receive(0.2) for text in texts]
    return [json.loads(text)["result"]["session"] for text in texts]
