"""One publisher, many subscribers: how many deliveries arrive."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.load import wire
from bench.load.connections import Connection, Disconnected, Pool, ask_all, drain, read
from bench.load.jobs import Fanout, Measured
from bench.load.meters import Meter

PATIENCE = 120.0  # seconds for all subscriptions
STALLED = 30.0  # seconds without any delivery
QUIET = 0.5  # seconds
NAP = 0.01  # seconds between looks, so that several events come with one system call, which is most of the cost
LEAST_EVENTS = 2  # a slow server delivers in long waves; a shorter look would see a whole one or none
PUBLISHER = -1


def run(job: Fanout, started: Callable[[], None]) -> Measured:
    pool = Pool(job.target.host, job.target.port)
    try:
        subscribers = pool.open(job.target.path, job.subscribers)
        ask_all(pool, subscribers, job.subscribe.encode(), job.subscribed.encode(), PATIENCE)
        drain(pool, QUIET)  # what an earlier run's publisher left behind
        (publisher,) = pool.open(job.publisher_path, 1)
        publisher.index = PUBLISHER
        loop = _Loop(job, pool, publisher)
        loop.until(time.perf_counter() + job.warm_up)
        started()
        before = loop.delivered
        loop.meter.start()
        loop.until(time.perf_counter() + job.seconds, before + LEAST_EVENTS * job.subscribers)
        return loop.meter.stop(loop.delivered - before)
    finally:
        pool.close()


class _Loop:
    def __init__(self, job: Fanout, pool: Pool, publisher: Connection) -> None:
        self._pool, self._publisher = pool, publisher
        self._subscribers, self._window = job.subscribers, job.window
        self._publish, self._event = job.publish, job.event.encode()
        self._published: list[float] = []
        self.delivered = 0
        self.meter = Meter(job.target, 1)

    def until(self, end: float, least: int = 0) -> None:
        """Publish whenever fewer than `window` events are on their way, and longer if fewer than `least` arrived."""
        poll, connections, now = self._pool.epoll.poll, self._pool.connections, time.perf_counter
        stalled = now() + STALLED
        self._fill()
        while (at := now()) < end or self.delivered < least:
            ready = poll(0.05, 512)
            if ready:
                stalled = at + STALLED
            elif at > stalled:
                raise Disconnected(f"No delivery for {STALLED} s; {self.delivered} came of {self._due()}.")
            for fd, _ in ready:
                connection = connections[fd]
                if connection.index == PUBLISHER:
                    self._judge(connection)
                else:
                    self._count(connection, now())
            self._fill()
            time.sleep(NAP)

    def _due(self) -> int:
        return len(self._published) * self._subscribers

    def _fill(self) -> None:
        while self._due() - self.delivered <= (self._window - 1) * self._subscribers:
            payload = self._publish.replace("{id}", f"{len(self._published):08x}").encode()
            self._published.append(time.perf_counter())
            self._publisher.send(wire.frame(payload))

    def _count(self, connection: Connection, at: float) -> None:
        data = read(connection)
        for text in connection.frames(data):
            if self._event not in text:
                self.meter.failed(text)
                continue
            self.meter.latencies.append(at - self._published[connection.seen])
            connection.seen += 1
            self.delivered += 1

    def _judge(self, publisher: Connection) -> None:
        for text in publisher.frames(read(publisher)):
            if b'"error"' in text:
                self.meter.failed(text)
