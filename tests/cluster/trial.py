"""Nodes under load with clients that follow, and what must hold whatever happens to them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import services
from tests.cluster.follower import ACTOR, Followers
from tests.cluster.linearizable import Operation, explain
from tests.cluster.load import TIMEOUT, Told, outcomes, read_journals
from tests.cluster.processes import Failed, Group, Member
from tests.databases import migrate
from tests.services import Postgres, Redis

LEASE = 2.0  # seconds
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


class Trial:
    """Nodes that are started one after another. All of them count, and clients of them follow the counts."""

    def __init__(
        self, seed: int, group: Group, directory: Path, *, postgres: Postgres | None = None, redis: Redis | None = None
    ) -> None:
        self.group = group
        self.directory = directory
        self.postgres = postgres
        self.redis = redis
        self.members: list[Member] = []  # those that are to be well again in the end
        self.leaving: list[Member] = []  # those that were told to end, and whose calls may still run
        self.log: list[str] = []
        self.seed = seed
        self.cut_off: list[Member] = []  # those whose clients can't be served now
        self._began = time.monotonic()
        self._started = 0
        self.followers = Followers(COUNTERS, self.ports, seed)

    def close(self) -> None:
        self.followers.stop()

    def ports(self) -> list[int]:
        return [one.port for one in self.members if one not in self.cut_off]

    def begin(self, how_many: int = 1, *, within: Sequence[str] = (), **environment: str) -> list[Member]:
        """Start nodes, and their clients."""
        here = {"MEMBER_PORT": "0", "LEASE_SECONDS": str(LEASE)}
        members = self.group.start(how_many, within=within, **here, **environment)
        for member in members:
            self._started += 1
            member.number = self._started
            self.note(f"start {member.number}")
            journal = str(self.directory / f"{member.number:03}.journal")
            seed = self.seed * 1000 + member.number
            member.do("load", journal=journal, seed=seed, counters=COUNTERS, tills=TILLS, clients=8, pause=0.02)
        self.members += members
        return members

    def note(self, what: str) -> None:
        self.log.append(f"{time.monotonic() - self._began:7.2f}  {what}")

    def told(self) -> list[Told]:
        """All that clients have been told until now."""
        return list(read_journals(self.directory))

    def answered(self, since: float = 0.0) -> int:
        """How many operations that began after a moment have succeeded."""
        return sum(one.outcome == "ok" and one.began >= since for one in self.told())

    def flow(self, member: Member | None = None) -> None:
        """Wait until operations that begin now succeed, of every node, on every actor."""
        until = time.monotonic() + RECOVERY
        for one in [member] if member is not None else self.members:
            for key in COUNTERS + TILLS:
                self._reach(one, key, until)

    # What must hold

    def verify(self) -> str:
        """Wait until all is well again, and judge all that was told. Gives what it was, for people."""
        final = self._settled()
        ran = {key: self.members[0].ask(key, "ran", actor=ACTOR) for key in final}
        told = list(read_journals(self.directory))
        wrong = [*self._hung(told), *self._strange(told), *self._complaints()]
        for key in COUNTERS:
            wrong += self._counted([one for one in told if one.key == key], key, final[key])
        for key in TILLS:
            wrong += self._paid([one for one in told if one.key == key], key, final[key])
        for key, tokens in ran.items():
            wrong += self._ran([one for one in told if one.key == key], key, tokens, final[key])
        wrong += self._followed(final)
        summary = self._summary(told)
        problems = "\n".join(wrong)
        history = "\n".join(self.log)
        assert not wrong, f"seed {self.seed}:\n{history}\n{summary}\n{problems}"  # the end of an output is seen first
        return summary

    def _settled(self) -> dict[str, int]:
        """Every node reaches every actor; then the load ends, and all see the same counts."""
        until = time.monotonic() + RECOVERY
        self.flow()
        for member in self.members:
            member.begin("rest").result(TIMEOUT + LATE)
        for member in self.leaving:
            member.process.wait(RECOVERY)
        found = [{key: self._reach(member, key, until + 10) for key in COUNTERS + TILLS} for member in self.members]
        assert all(one == found[0] for one in found), (self.seed, found)
        return found[0]

    def _reach(self, member: Member, key: str, until: float) -> int:
        while True:
            try:
                found: int = member.asking(key, "get", actor=ACTOR, timeout=TIMEOUT).result(TIMEOUT + LATE)
                return found
            except Failed as failed:
                said = failed.found
            assert time.monotonic() < until, (self.seed, member.number, key, said, self.log)
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

    def _ran(self, told: list[Told], key: str, tokens: list[str], final: int) -> list[str]:
        """Each call ran at most once, those that were acknowledged did, and those that certainly failed did not."""
        grown = [one for one in told if one.what != "get"]
        done = {one.token for one in grown if one.outcome == "ok"}
        perhaps = {one.token for one in grown if one.unknown}
        ran = Counter(tokens)
        wrong = [f"{key}: {token} ran {times} times" for token, times in ran.items() if times > 1]
        wrong += [f"{key}: {token} was acknowledged and did not run" for token in done - set(ran)]
        wrong += [f"{key}: {token} failed, and ran" for token in set(ran) - done - perhaps]
        return wrong if len(tokens) == final else [*wrong, f"{key} is {final}, and {len(tokens)} calls ran"]

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


@contextlib.contextmanager
def surroundings(backend: str, carrier: str, directory: Path) -> Iterator[tuple[Group, Postgres | None, Redis | None]]:
    """A database and, for the carrier "redis", a layer, and a group of processes on them."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(services.postgres()) if backend == "postgresql" else None
        redis = stack.enter_context(services.redis_server()) if carrier == "redis" else None
        sqlite = {"SERVER_SQLITE": str(directory / "cluster.sqlite3")}
        environment = {"SERVER_PG": postgres.uri} if postgres is not None else sqlite
        migrate(environment)
        if redis is not None:
            environment["LAYER_REDIS"] = redis.url
        group = Group(environment, directory / LOG)
        stack.callback(group.close)
        yield group, postgres, redis


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
