"""Nodes, a database and a layer to which things happen at random."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.processes import Member
from tests.cluster.proxy import Proxy, environment
from tests.cluster.trial import LEASE, Trial

MOST = 4  # nodes at a time
FEWEST = 2  # nodes that are left alone


class Chaos(Trial):
    """What happens, and when, follows from the seed; what comes of it, from the machine."""

    def __init__(self, seed: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(seed, *args, **kwargs)
        self.rng = random.Random(seed)
        self._undo: list[threading.Timer] = []  # what ends a pause or a cut, in time whatever else takes long
        self._lock = threading.Lock()
        self._ways: dict[Member, list[Proxy]] = {}  # to the servers, where they can be cut
        self._faults: list[tuple[Callable[[], None], int]] = [
            (self.start, 4),
            (self.terminate, 2),
            (self.kill, 3),
            (self.pause, 4),
        ]
        if self.redis is not None:
            self._faults += [(self.flush_redis, 2), (self.restart_redis, 2)]
        if self.postgres is not None:
            self._faults += [(self.cut, 4), (self.restart_postgres, 1)]

    def run(self, seconds: float) -> None:
        for _ in range(FEWEST + 1):
            self.start()
        until = time.monotonic() + seconds
        faults, weights = zip(*self._faults, strict=True)
        while time.monotonic() < until:
            time.sleep(self.rng.uniform(0.1, 1.0))
            self.rng.choices(faults, weights)[0]()
        self._mend()
        while len(self.members) < FEWEST:
            self.start()

    def close(self) -> None:
        self._mend()
        super().close()
        for ways in self._ways.values():
            for way in ways:
                way.close()

    # What happens

    def start(self) -> None:
        if len(self.members) >= MOST:
            return
        ways = [Proxy(server.socket) for server in (self.postgres, self.redis) if server is not None]
        (member,) = self.begin(1, **environment(*ways))
        self._ways[member] = ways

    def terminate(self) -> None:
        if (member := self._victim()) is not None:
            self.note(f"SIGTERM {member.number}")
            self.members.remove(member)
            self.leaving.append(member)
            member.send(signal.SIGTERM)

    def kill(self) -> None:
        if (member := self._victim()) is not None:
            self.note(f"SIGKILL {member.number}")
            self.members.remove(member)
            member.kill()

    def pause(self) -> None:
        seconds = self._while()
        if (member := self._victim()) is not None:
            self.note(f"SIGSTOP {member.number} for {seconds:.1f} s")
            member.send(signal.SIGSTOP)
            self._mend_in(seconds, member, f"SIGCONT {member.number}", lambda: member.send(signal.SIGCONT))

    def cut(self) -> None:
        seconds, forget, most = self._while(), self.rng.random() < 0.4, self.rng.choice([1, 2])
        if (member := self._victim()) is not None:
            ways = self.rng.sample(self._ways[member], min(most, len(self._ways[member])))
            which = [("database", "layer")[self._ways[member].index(way)] for way in ways]
            self.note(f"cut {member.number} from {which} for {seconds:.1f} s")
            for way in ways:
                way.cut()

            def heal() -> None:
                for way in ways:
                    way.heal(forget=forget)

            self._mend_in(seconds, member, f"heal {member.number}{' anew' if forget else ''}", heal)

    def flush_redis(self) -> None:
        assert self.redis is not None
        self.note("flush Redis")
        self.redis.flush()

    def restart_redis(self) -> None:
        assert self.redis is not None
        self.note("restart Redis")
        self.redis.kill()
        time.sleep(self.rng.uniform(0.0, 0.5))
        self.redis.start()

    def restart_postgres(self) -> None:
        assert self.postgres is not None
        crash, seconds = self.rng.random() < 0.5, self.rng.uniform(0.0, 1.5 * LEASE)
        self.note(f"PostgreSQL {'crashes' if crash else 'stops'}")
        if crash:
            self.postgres.crash()
        else:
            self.postgres.stop()
        time.sleep(seconds)
        self.postgres.start()
        self.note("PostgreSQL is back")

    def _while(self) -> float:
        """Seconds that something lasts: within a lease, or past it."""
        return LEASE * self.rng.choice([self.rng.uniform(0.1, 0.9), self.rng.uniform(1.0, 1.8)])

    def _victim(self) -> Member | None:
        running = [member for member in self.members if member not in self.cut_off]
        chosen = self.rng.random()
        return running[int(chosen * len(running))] if len(running) > FEWEST else None

    def _mend_in(self, seconds: float, member: Member, what: str, mend: Callable[[], None]) -> None:
        def undo() -> None:
            with self._lock:
                if timer not in self._undo:
                    return
                self._undo.remove(timer)
                self.note(what)
                mend()
                self.cut_off.remove(member)

        timer = threading.Timer(seconds, undo)
        self.cut_off.append(member)
        self._undo.append(timer)
        timer.start()

    def _mend(self) -> None:
        """End all pauses and cuts now."""
        for timer in list(self._undo):
            timer.cancel()
            timer.function()
