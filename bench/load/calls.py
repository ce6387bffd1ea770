"""The closed loop of calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from bench.load import wire
from bench.load.connections import Connection, Disconnected, Pool, read
from bench.load.jobs import Calls, Measured
from bench.load.meters import QUARTERS, Meter

ID_LENGTH = 8  # hexadecimal digits; fixed, so that a frame's length is known beforehand
STALLED = 30.0  # seconds without any answer


class Frames:
    """The call to each key, cut around its id."""

    def __init__(self, call: str, keys: range) -> None:
        self._pieces = [self._cut(call.replace("{key}", str(key))) for key in keys]
        self._ids = 0

    def _cut(self, call: str) -> tuple[bytes, bytes]:
        before, after = call.encode().split(b"{id}")
        return wire.frame_head(len(before) + ID_LENGTH + len(after)) + before, after

    def next(self, key: int) -> bytes:
        """A frame with an id that no frame had before: a repeated id is a repeated call."""
        self._ids += 1
        before, after = self._pieces[key]
        return b"%b%08x%b" % (before, self._ids, after)


def shares(clients: int, keys: int) -> list[list[int]]:
    """Which keys each client calls, in which order."""
    if keys <= clients:
        return [[client % keys] for client in range(clients)]
    found = [list(range(client, keys, clients)) for client in range(clients)]
    for client, share in enumerate(found):
        random.Random(client).shuffle(share)
    return found


def run(job: Calls, started: Callable[[], None]) -> Measured:
    pool = Pool(job.target.host, job.target.port)
    try:
        clients = pool.open(job.target.path, job.clients)
        loop = _Loop(job, pool)
        if job.seconds == 0:
            return loop.once(clients, started)
        loop.send_first(clients)
        if job.warm_up:
            loop.until(time.perf_counter() + job.warm_up)
        started()
        loop.meter.start()
        loop.until(time.perf_counter() + job.seconds)
        return loop.meter.stop()
    finally:
        pool.close()


class _Loop:
    def __init__(self, job: Calls, pool: Pool) -> None:
        self._pool = pool
        self._answer = job.answer.encode()
        self._frames = Frames(job.call, range(job.first_key, job.first_key + job.keys))
        self._shares = shares(job.clients, job.keys)
        self.meter = Meter(job.target, job.clients)

    def send_first(self, clients: list[Connection]) -> None:
        for client in clients:
            client.sent_at = time.perf_counter()
            client.send(self._frames.next(self._shares[client.index][0]))

    def until(self, end: float) -> None:
        """Answer every answer with the next call."""
        connections, poll, frames, shares = self._pool.connections, self._pool.epoll.poll, self._frames, self._shares
        now, latencies, slowest = time.perf_counter, self.meter.latencies, self.meter.slowest_of_client
        marks, mark, stalled = self.meter, now() + 1 / QUARTERS, now() + STALLED
        while (at := now()) < end:
            if at >= mark:
                marks.timeline.append(len(latencies) - sum(marks.timeline))
                mark += 1 / QUARTERS
            ready = poll(min(0.05, end - at), 256)
            if ready:
                stalled = at + STALLED
            elif at > stalled:
                raise Disconnected(f"No answer for {STALLED} s.")
            for fd, _ in ready:
                client = connections[fd]
                if not self._answered(client):
                    continue
                at = now()
                took = at - client.sent_at
                latencies.append(took)
                if took > slowest[client.index]:
                    slowest[client.index] = took
                share = shares[client.index]
                client.key = (client.key + 1) % len(share)
                client.sent_at = at
                client.send(frames.next(share[client.key]))

    def once(self, clients: list[Connection], started: Callable[[], None]) -> Measured:
        """Every key once."""
        started()
        self.meter.start()
        self.send_first(clients)
        left = sum(map(len, self._shares))
        until = time.perf_counter() + 10 * STALLED
        while left:
            if time.perf_counter() > until:
                raise Disconnected(f"{left} keys have not answered.")
            for fd, _ in self._pool.epoll.poll(0.05, 256):
                client = self._pool.connections[fd]
                if self._answered(client):
                    left -= 1
                    self.meter.latencies.append(time.perf_counter() - client.sent_at)
                    self._go_on(client)
        return self.meter.stop()

    def _go_on(self, client: Connection) -> None:
        client.key += 1
        share = self._shares[client.index]
        if client.key < len(share):
            client.sent_at = time.perf_counter()
            client.send(self._frames.next(share[client.key]))

    def _answered(self, client: Connection) -> bool:
        data = read(client)
        length = data[1] if len(data) > 1 else 0
        if not client.rest and data[0] == 0x81 and length < 126 and len(data) == length + 2:
            texts = [data]  # the usual case: one short frame; its two bytes of head don't matter
        else:
            texts = client.frames(data)
        for text in texts:
            if self._answer not in text:
                self.meter.failed(text)
        return bool(texts)
