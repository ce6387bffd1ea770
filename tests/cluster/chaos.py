"""Nodes, a database and a layer to which things happen at random, under load, and what must hold whatever happens."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from tests.cluster.follower import ACTOR, Followers
from tests.cluster.linearizable import Operation, explain
from tests.cluster.load import TIMEOUT, Told, outcomes, read_journals
from tests.cluster.processes import Failed, Group, Member
from tests.server.harness import free_port
from tests.services import Postgres, Redis

LEASE = 2.0  # seconds
MOST = 4  # nodes at a time
FEWEST = 2  # nodes that are left alone
RECOVERY = 30.0  # seconds after the last fault until everything works again
LATE = 8.0  # seconds past its deadline after which a call counts as hung
COUNTERS = [f"counter-{number}" for number in range(6)]
TILLS = [f"till-{number}" for number in range(3)]
AFTER_ALL = 1e12  # seconds
CERTAIN = frozenset({"Unavailable", "DeadlineExceeded", "Conflict", "Overloaded"})  # nothing has happened
LOG = "nodes.log"
DEFECTS = (  # what a node must never have to say
    "never retrieved",
    "never awaited",
    "The store failed unexpectedly",
    "could not be taken in",
    "Handling a frame failed",
    "can't be read.",
    "Fatal Python error",
)


class Chaos:
    """One run. What happens, and when, follows from the seed; what comes of it, from the machine."""

    def __init__(
        self, seed: int, group: Group, directory: Path, *, postgres: Postgres | None = None, redis: Redis | None = None
    ) -> None:
        self.rng = random.Random(seed)
        self.group = group
        self.directory = directory
        self.postgres = postgres
        self.redis = redis
        self.members: list[Member] = []
        self.log: list[str] = []
        self._seed = seed
        self._began = time.monotonic()
        self._resume: list[tuple[float, Member]] = []
        self._started = 0
        self._faults: list[tuple[Callable[[], None], int]] = [
            (self.start, 4),
            (self.terminate, 2),
            (self.kill, 3),
            (self.pause, 4),
        ]
        if redis is not None:
            self._faults += [(self.flush_redis, 2), (self.restart_redis, 2)]
        if postgres is not None:
            self._faults += [(self.restart_postgres, 1)]
        for _ in range(FEWEST + 1):
            self.start()
        self.followers = Followers(COUNTERS, self.ports, seed)

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        faults, weights = zip(*self._faults, strict=True)
        while time.monotonic() < until:
            time.sleep(self.rng.uniform(0.1, 1.0))
            self._wake()
            self.rng.choices(faults, weights)[0]()
        self._wake(all=True)
        while len(self.members) < FEWEST:
            self.start()

    def ports(self) -> list[int]:
        return [one.port for one in self._running()]

    # What happens

    def start(self) -> None:
        if len(self.members) >= MOST:
            return
        self._started += 1
        number, port = self._started, free_port()
        self._note(f"start {number}")
        (member,) = self.group.start(1, MEMBER_PORT=str(port), LEASE_SECONDS=str(LEASE))
        member.number, member.port = number, port
        journal = str(self.directory / f"{number:03}.journal")
        seed = self.rng.randrange(2**32)
        member.do("load", journal=journal, seed=seed, counters=COUNTERS, tills=TILLS, clients=8, pause=0.02)
        self.members.append(member)

    def terminate(self) -> None:
        if (member := self._victim()) is not None:
            self._note(f"SIGTERM {member.number}")
            self.members.remove(member)
            member.send(signal.SIGTERM)

    def kill(self) -> None:
        if (member := self._victim()) is not None:
            self._note(f"SIGKILL {member.number}")
            self.members.remove(member)
            member.kill()

    def pause(self) -> None:
        seconds = self.rng.choice([self.rng.uniform(0.1, 0.9), self.rng.uniform(1.0, 1.8)]) * LEASE
        if (member := self._victim()) is not None:
            self._note(f"SIGSTOP {member.number} for {seconds:.1f} s")
            self._resume.append((time.monotonic() + seconds, member))
            member.send(signal.SIGSTOP)

    def flush_redis(self) -> None:
        assert self.redis is not None
        self._note("flush Redis")
        self.redis.flush()

    def restart_redis(self) -> None:
        assert self.redis is not None
        self._note("restart Redis")
        self.redis.kill()
        time.sleep(self.rng.uniform(0.0, 0.5))
        self.redis.start()

    def restart_postgres(self) -> None:
        assert self.postgres is not None
        self._note("stop PostgreSQL")
        self.postgres.stop()
        time.sleep(self.rng.uniform(0.0, 1.5 * LEASE))
        self.postgres.start()
        self._note("PostgreSQL is back")

    def _running(self) -> list[Member]:
        paused = [member for _, member in self._resume]
        return [member for member in self.members if member not in paused]

    def _victim(self) -> Member | None:
        running = self._running()
        chosen = self.rng.random()
        return running[int(chosen * len(running))] if len(running) > FEWEST else None

    def _wake(self, *, all: bool = False) -> None:
        for due, member in list(self._resume):
            if all or due <= time.monotonic():
                self._note(f"SIGCONT {member.number}")
                self._resume.remove((due, member))
                with contextlib.suppress(ProcessLookupError):
                    member.send(signal.SIGCONT)

    def _note(self, what: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.2f}  {what}")

    # What must hold

    def verify(self) -> str:
        """Wait until all is well again, and judge all that was told. Gives what it was, for people."""
        final = self._settled()
        told = list(read_journals(self.directory))
        wrong = [*self._hung(told), *self._strange(told), *self._complaints()]
        for key in COUNTERS:
            wrong += self._counted([one for one in told if one.key == key], key, final[key])
        for key in TILLS:
            wrong += self._paid([one for one in told if one.key == key], key, final[key])
        wrong += self._followed(final)
        summary = self._summary(told)
        problems = "\n".join(wrong)
        history = "\n".join(self.log)
        assert not wrong, f"seed {self._seed}:\n{problems}\n{summary}\n{history}"
        return summary

    def _settled(self) -> dict[str, int]:
        """Every node reaches every actor; then the load ends, and all see the same counts."""
        until = time.monotonic() + RECOVERY
        for member in self.members:
            for key in COUNTERS + TILLS:
                self._reach(member, key, until)
        for member in self.members:
            member.begin("rest").result(TIMEOUT + LATE)
        found = [{key: self._reach(member, key, until + 10) for key in COUNTERS + TILLS} for member in self.members]
        assert all(one == found[0] for one in found), (self._seed, found)
        return found[0]

    def _reach(self, member: Member, key: str, until: float) -> int:
        while True:
            try:
                found: int = member.asking(key, "get", actor=ACTOR, timeout=TIMEOUT).result(TIMEOUT + LATE)
                return found
            except Failed as failed:
                assert time.monotonic() < until, (self._seed, member.number, failed.found, self.log)
                time.sleep(0.05)

    def _hung(self, told: list[Told]) -> list[str]:
        longest = TIMEOUT + LATE
        return [f"hung: {one}" for one in told if one.outcome and one.ended - one.began > longest]

    def _strange(self, told: list[Told]) -> list[str]:
        return [f"strange: {one}" for one in told if not one.unknown and one.outcome not in {"ok", *CERTAIN}]

    def _complaints(self) -> list[str]:
        lines = (self.directory / LOG).read_text().splitlines()
        return [f"logged: {line}" for line in lines if any(defect in line for defect in DEFECTS)]

    def _counted(self, told: list[Told], key: str, final: int) -> list[str]:
        grown = [one for one in told if one.what != "get"]
        least = sum(one.outcome == "ok" for one in grown)
        most = least + sum(one.unknown for one in grown)
        wrong = [] if least <= final <= most else [f"{key} is {final}, not {least} to {most}"]
        last = Operation(what="read", result=final, invoked=AFTER_ALL, returned=AFTER_ALL + 1)
        stuck = explain([*operations(told), last])
        return wrong + ([f"{key}: {stuck}"] if stuck is not None else [])

    def _paid(self, told: list[Told], key: str, final: int) -> list[str]:
        answers: dict[str, set[int | None]] = defaultdict(set)
        for one in told:
            if one.outcome == "ok":
                answers[one.id].add(one.result)
        wrong = [f"{key}: {id} had answers {found}" for id, found in answers.items() if len(found) > 1]
        seen = [one for found in answers.values() for one in found]
        if len(set(seen)) != len(seen):
            wrong.append(f"{key}: one answer for two payments")
        most = len({one.id for one in told})
        return wrong if len(answers) <= final <= most else [*wrong, f"{key} is {final}, not {len(answers)} to {most}"]

    def _followed(self, final: dict[str, int]) -> list[str]:
        until = time.monotonic() + RECOVERY
        while any(one.count != final[one.key] for one in self.followers.all) and time.monotonic() < until:
            time.sleep(0.05)
        self.followers.stop()
        wrong = [text for one in self.followers.all for text in one.wrong]
        behind = [one for one in self.followers.all if one.count != final[one.key]]
        return wrong + [f"the follower of {one.key} is at {one.count}, not {final[one.key]}" for one in behind]

    def _summary(self, told: list[Told]) -> str:
        names = ("frames", "resets", "snapshots", "recoveries", "connections")
        followed = {name: sum(getattr(one, name) for one in self.followers.all) for name in names}
        return f"{len(told)} operations: {outcomes(told)}; {len(self.log)} events; followers: {followed}"


def operations(told: list[Told]) -> list[Operation]:
    """What the checker gets to see: those that have happened, or may have."""
    found = []
    for one in told:
        what, argument = ("read", 0) if one.what == "get" else ("add", 1)
        if one.outcome == "ok":
            found.append(
                Operation(
                    what=what,
                    argument=argument,
                    result=one.result,
                    invoked=one.began,
                    returned=one.ended,
                    who=f"{one.who} {one.what}",
                )
            )
        elif one.unknown:
            found.append(Operation(what=what, argument=argument, invoked=one.began, who=f"{one.who} {one.what}"))
    return found
