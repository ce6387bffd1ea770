"""A publisher at full rate, and thousands who listen over WebSocket and server-sent events; one of them never reads.

Full rate is as fast as those who read can follow, who share this process and its core: the publisher doesn't wait for
each of its events, but is never more than a few ahead of what they have. For the one who doesn't read it never waits.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable

import psutil

from bench.load import wire
from bench.load.connections import Connection, Disconnected, Pool, ask_all, read
from bench.load.jobs import Fate, Heat, Hot
from bench.load.meters import Meter

PATIENCE = 120.0  # seconds for all subscriptions
QUIET = 5.0  # seconds without a delivery after which no more come
AHEAD = 8  # events on their way to those who read; fewer than a socket's buffer takes
NAP = 0.01  # seconds between looks, so that several events come with one system call
AT_ONCE = 8192  # sockets of one look; the publisher's must not wait for those of others
CHUNK = 65_536  # bytes read at once; more would be mapped and unmapped each time
PATIENCE_SHARE = 10  # times the seconds of a run that its least number of events may take
PUBLISHER = -1
EVENT = b'"lm.event"'
RESET = b'"lm.reset"'
SEQ = re.compile(rb'"seq":(\d+)')
HEAD = 300  # bytes of a message that say what it is


class Row:
    """The numbers of one subscriber's events, which must follow each other."""

    __slots__ = ("last", "reset", "rest", "stream")

    def __init__(self, *, stream: bool) -> None:
        self.stream = stream  # of server-sent events
        self.rest = b""  # the start of a line whose end has not come yet
        self.last = 0  # 0: none came yet
        self.reset = False

    def take(self, text: bytes) -> str | None:
        """The beginning of one message. Answers what is wrong with it."""
        if RESET in text:
            self.reset = True
            return None
        found = SEQ.search(text) if EVENT in text else None
        if found is None or self.reset:
            return None
        number, expected = int(found[1]), self.last + 1
        self.last, first = number, self.last == 0
        return None if first or number == expected else f"{number} came after {expected - 1}"

    def lines(self, data: bytes) -> list[bytes]:
        """The messages in what an event stream brought."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [line for line in lines if line.startswith(b"data:")]


class Room:
    def __init__(self, job: Hot) -> None:
        self._job = job
        self._pool = Pool(job.target.host, job.target.port)
        self._rows: dict[int, Row] = {}
        self._process = psutil.Process(job.target.server_pid)
        self.published = self.answered = self.delivered = self.gaps = 0
        self.first_gap = ""
        self.memory: list[int] = []

    def fill(self) -> None:
        """Everybody comes in."""
        job, pool = self._job, self._pool
        pool.far = True  # or the two ends of this machine would hold megabytes for who never reads
        self._stalled = self._join(1)[0]
        pool.far = False
        pool.epoll.unregister(self._stalled.fd)
        for connection in self._join(job.websockets):
            self._rows[connection.fd] = Row(stream=False)
        for number in range(job.streams):
            connection = self._event_stream(number)
            self._rows[connection.fd] = Row(stream=True)
        (self._publisher,) = pool.open(job.target.path, 1)
        self._publisher.index = PUBLISHER

    def _join(self, count: int) -> list[Connection]:
        opened = self._pool.open(self._job.target.path, count)
        for payload, answer in ((self._job.hello, '"session"'), (self._job.subscribe, '"epoch"')):
            for connection in opened:
                connection.ready = False
            ask_all(self._pool, opened, payload.encode(), answer.encode(), PATIENCE)
        return opened

    def _event_stream(self, number: int) -> Connection:
        target, path = self._job.target, self._job.events_path
        rpc = path.rpartition("/")[0] + "/rpc"
        calls = http.client.HTTPConnection(target.host, target.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        calls.request("POST", rpc, self._job.hello, headers)
        token = json.loads(calls.getresponse().read())["result"]["session"]
        calls.request("POST", rpc, self._job.subscribe, {**headers, "LightMoon-Session": token})
        answer = calls.getresponse().read()
        calls.close()
        if b'"epoch"' not in answer:
            raise Disconnected(f"The subscription failed: {answer[:300]!r}")
        sock = socket.create_connection((target.host, target.port))
        sock.sendall(f"GET {path}?session={token} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n\r\n".encode())
        sock.setblocking(False)
        connection = Connection(sock, number)
        self._pool.connections[connection.fd] = connection
        self._pool.epoll.register(connection.fd, 1)
        return connection

    def heat(self, seconds: float, least: int) -> None:
        """Publish as fast as those who read can follow, for so long, and at least so many events."""
        began = mark = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds or self.answered < least:
            if now > began + PATIENCE_SHARE * seconds:
                raise Disconnected(f"Only {self.answered} of {least} events were published in {now - began:.0f} s.")
            if now >= mark:
                self.memory.append(self._process.memory_info().rss)
                mark += 1.0
            self._publish()
            self._look()
            time.sleep(NAP)

    def cool(self) -> None:
        """Read what is still on its way."""
        until = time.perf_counter() + QUIET
        while time.perf_counter() < until:
            before = self.delivered
            self._look()
            if self.delivered > before:
                until = time.perf_counter() + QUIET

    def _publish(self) -> None:
        """As many events as may be on their way."""
        readers = len(self._rows)
        while self.published - self.answered < AHEAD and self.published - self.delivered // readers < AHEAD:
            self.published += 1
            self._publisher.send(wire.frame(self._job.publish.replace("{id}", str(self.published)).encode()))

    def _look(self) -> None:
        for fd, _ in self._pool.epoll.poll(0.05, AT_ONCE):
            connection = self._pool.connections[fd]
            if connection.index != PUBLISHER:
                self._read(connection, self._rows[fd])
                continue
            for answer in connection.frames(read(connection)):
                if b'"error"' in answer:
                    raise Disconnected(f"The publisher was refused: {answer[:300]!r}")
                self.answered += 1

    def _read(self, connection: Connection, row: Row) -> None:
        data = connection.recv(CHUNK)
        if not data:
            raise Disconnected("The server dropped a subscriber that reads.")
        for text in row.lines(data) if row.stream else connection.frames(data):
            head = text[:HEAD]
            wrong = row.take(head)
            self.delivered += EVENT in head
            if wrong is not None:
                self.gaps += 1
                self.first_gap = self.first_gap or f"{'SSE' if row.stream else 'WebSocket'}: {wrong}"

    def _fate(self, newest: int) -> Fate:
        """What the one who never read finds when it reads at last."""
        self._stalled.socket.settimeout(2.0)
        row = Row(stream=False)
        try:
            while not row.reset and row.last < newest:
                for text in self._stalled.frames(read(self._stalled)):
                    if row.take(text) is not None:
                        return Fate.GAP
        except TimeoutError:
            return Fate.BEHIND
        except (Disconnected, OSError):
            return Fate.DROPPED
        return Fate.RESET if row.reset else Fate.WHOLE

    def result(self, seconds: float, delivered: int, load_cpu: float, server_cpu: float) -> Heat:
        newest = max(row.last for row in self._rows.values())
        return Heat(
            published=self.published,
            delivered=delivered,
            seconds=seconds,
            gaps=self.gaps,
            first_gap=self.first_gap,
            resets=sum(row.reset for row in self._rows.values()),
            fate=self._fate(newest),
            subscribers=len(self._rows),
            behind=sum(row.last < newest and not row.reset for row in self._rows.values()),
            memory=self.memory,
            load_cpu=load_cpu,
            server_cpu=server_cpu,
        )

    def close(self) -> None:
        self._pool.close()


def run(job: Hot, started: Callable[..., None]) -> Heat:
    room = Room(job)
    try:
        room.fill()
        started()
        meter = Meter(job.target, 1)
        meter.start()
        room.heat(job.seconds, job.least)
        found, delivered = meter.stop(room.delivered), room.delivered
        room.cool()
        return room.result(found.seconds, delivered, found.load_cpu, found.server_cpu)
    finally:
        room.close()
