"""Nodes, a database and a layer to which things happen at random."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.processes import Member
from tests.cluster.trial import LEASE, Trial

MOST = 4  # nodes at a time
FEWEST = 2  # nodes that are left alone


class Chaos(Trial):
    """What happens, and when, follows from the seed; what comes of it, from the machine."""

    def __init__(self, seed: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(seed, *args, **kwargs)
        self.rng = random.Random(seed)
        self._resume: list[tuple[float, Member]] = []
        self._faults: list[tuple[Callable[[], None], int]] = [
            (self.start, 4),
            (self.terminate, 2),
            (self.kill, 3),
            (self.pause, 4),
        ]
        if self.redis is not None:
            self._faults += [(self.flush_redis, 2), (self.restart_redis, 2)]
        if self.postgres is not None:
            self._faults += [(self.restart_postgres, 1)]

    def run(self, seconds: float) -> None:
        self.begin(FEWEST + 1)
        until = time.monotonic() + seconds
        faults, weights = zip(*self._faults, strict=True)
        while time.monotonic() < until:
            time.sleep(self.rng.uniform(0.1, 1.0))
            self._wake()
            self.rng.choices(faults, weights)[0]()
        self._wake(all=True)
        while len(self.members) < FEWEST:
            self.start()

    # What happens

    def start(self) -> None:
        if len(self.members) < MOST:
            self.begin()

    def terminate(self) -> None:
        if (member := self._victim()) is not None:
            self.note(f"SIGTERM {member.number}")
            self.members.remove(member)
            member.send(signal.SIGTERM)

    def kill(self) -> None:
        if (member := self._victim()) is not None:
            self.note(f"SIGKILL {member.number}")
            self.members.remove(member)
            member.kill()

    def pause(self) -> None:
        seconds = self.rng.choice([self.rng.uniform(0.1, 0.9), self.rng.uniform(1.0, 1.8)]) * LEASE
        if (member := self._victim()) is not None:
            self.note(f"SIGSTOP {member.number} for {seconds:.1f} s")
            self._resume.append((time.monotonic() + seconds, member))
            self.cut_off.append(member)
            member.send(signal.SIGSTOP)

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
        self.note("stop PostgreSQL")
        self.postgres.stop()
        time.sleep(self.rng.uniform(0.0, 1.5 * LEASE))
        self.postgres.start()
        self.note("PostgreSQL is back")

    def _running(self) -> list[Member]:
        return [member for member in self.members if member not in self.cut_off]

    def _victim(self) -> Member | None:
        running = self._running()
        chosen = self.rng.random()
        return running[int(chosen * len(running))] if len(running) > FEWEST else None

    def _wake(self, *, all: bool = False) -> None:
        for due, member in list(self._resume):
            if all or due <= time.monotonic():
                self.note(f"SIGCONT {member.number}")
                self._resume.remove((due, member))
                self.cut_off.remove(member)
                member.send(signal.SIGCONT)
