"""Random plans, and what a run of them must have come to."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator
from typing import Any

Plan = dict[str, Any]

DEPTH = 4
CERTAIN = frozenset({"rejected", "internal", "deadlock", "conflict", "deadline_exceeded", "overloaded", "unavailable"})
"""Codes that promise that nothing was kept."""


class Planner:
    """Makes the plans of one seed. Asks go to actors with higher numbers, or back along their own chain."""

    def __init__(self, rng: random.Random, actors: int) -> None:
        self._rng = rng
        self._actors = actors
        self._ids = itertools.count(1)
        self.plans: dict[int, Plan] = {}
        self.target: dict[int, int] = {}  # plan to actor

    def top(self) -> tuple[int, str, Plan]:
        """An actor's number, the message, and the plan."""
        target = self._rng.randrange(self._actors)
        how = self._rng.choice(["run", "run", "run", "once", "blocking", "read"])
        return target, how, self._plan(target, (target,), DEPTH if how in ("run", "once") else 0)

    def _plan(self, target: int, chain: tuple[int, ...], depth: int) -> Plan:
        plan: Plan = {"id": next(self._ids), "steps": []}
        self.plans[plan["id"]] = plan
        self.target[plan["id"]] = target
        for _ in range(self._rng.randint(1, 4)):
            plan["steps"].append(self._step(chain, depth))
        return plan

    def _step(self, chain: tuple[int, ...], depth: int) -> Plan:
        kind = self._rng.choices(
            ["add", "pause", "ask", "back", "tell", "remind", "fail", "crash"],
            [8, 2, 4 * (depth > 0), 3 * (len(chain) > 1), 2, 0.7, 1, 0.3],
        )[0]
        if kind == "pause" and depth == 0:
            kind = "add"
        if kind == "add":
            return self._addition()
        if kind == "ask" and chain[-1] + 1 < self._actors:
            to = self._rng.randrange(chain[-1] + 1, self._actors)
            how = self._rng.choice(["run", "run", "once", "blocking"])
            return self._asked(to, how, self._plan(to, (*chain, to), depth - 1 if how != "blocking" else 0))
        if kind == "back" and len(chain) > 1:
            to = self._rng.choice(chain[:-1])
            return self._asked(to, self._rng.choice(["again", "run"]), self._plan(to, chain, 0))
        if kind == "tell":
            to = self._rng.randrange(self._actors)
            how = self._rng.choice(["run", "once", "blocking"])
            return {"do": "tell", "to": to, "how": how, "plan": self._plan(to, (to,), 0)}
        if kind == "remind":
            plan: Plan = {"id": next(self._ids), "steps": [self._addition()]}
            self.plans[plan["id"]] = plan
            return {"do": "remind", "delay": self._rng.choice([0.0, 0.02]), "plan": plan}
        return {"do": kind if kind in ("pause", "fail", "crash") else "pause" if depth else "add", "n": 1, "kind": "a"}

    def _addition(self) -> Plan:
        return {"do": "add", "n": self._rng.randint(1, 9), "kind": self._rng.choice("abc")}

    def _asked(self, to: int, how: str, plan: Plan) -> Plan:
        return {"do": "ask", "to": to, "how": how, "catch": self._rng.random() < 0.7, "plan": plan}


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """An actor's row, and the ids of the events that a subscriber saw."""

    total: int
    ledger: list[int]
    others: dict[str, int]
    outside: int
    seen: list[int]
    resets: int
    beats: int
    beaten: list[int]  # the numbers of the timer's ticks that a subscriber saw


def steps(plan: Plan, what: str) -> Iterator[Plan]:
    return (step for step in plan["steps"] if step["do"] == what)


def simulate(ledger: list[int], plans: dict[int, Plan]) -> tuple[int, dict[str, int]]:
    """What the fields of an actor are after those plans and no others."""
    total, others = 0, dict[str, int]()
    for step in (step for id in ledger for step in steps(plans[id], "add")):
        total += step["n"]
        others[step["kind"]] = others.get(step["kind"], 0) + 1
    return total, others


def troubles(
    planner: Planner, stored: list[Stored], outcomes: dict[int, str], outside: list[int], *, faulty: bool
) -> Iterator[str]:
    """Everything that a correct run can't have come to."""
    kept = {id for row in stored for id in row.ledger}
    for number, row in enumerate(stored):
        total, others = simulate(row.ledger, planner.plans)
        if (row.total, row.others) != (total, others):
            yield f"actor {number} holds {row.total} {row.others}, its ledger comes to {total} {others}"
        if len(set(row.ledger)) != len(row.ledger):
            yield f"actor {number} ran a plan twice: {row.ledger}"
        if row.outside != outside[number]:
            yield f"actor {number} lost outside writes: {row.outside} of {outside[number]}"
        yield from _stream_troubles(number, row)
    for id, outcome in outcomes.items():
        if outcome in CERTAIN and id in kept:
            yield f"plan {id} was answered with {outcome}, and kept"
    for plan in planner.plans.values():
        yield from _tree_troubles(plan, kept, outcomes, faulty)


def _stream_troubles(number: int, row: Stored) -> Iterator[str]:
    """Every event in order; where a stream was reset some are missing, and still none is out of order."""
    if row.beaten != sorted(set(row.beaten)) or (row.beaten and row.beaten[-1] > row.beats):
        yield f"actor {number} has {row.beats} beats, its subscriber saw {row.beaten}"
    if row.resets == 0 and row.beaten != list(range(row.beats + 1 - len(row.beaten), row.beats + 1)):
        yield f"actor {number} has {row.beats} beats, its subscriber, who may come after the first, saw {row.beaten}"
    if row.resets == 0 and row.seen != row.ledger:
        yield f"actor {number}'s subscriber saw {row.seen}, its ledger is {row.ledger}"
    places = [row.ledger.index(id) if id in row.ledger else -1 for id in row.seen]
    if -1 in places or places != sorted(places):
        yield f"actor {number}'s subscriber saw {row.seen} after {row.resets} resets, its ledger is {row.ledger}"


def _tree_troubles(plan: Plan, kept: set[int], outcomes: dict[int, str], faulty: bool) -> Iterator[str]:
    for step in steps(plan, "ask"):
        id = step["plan"]["id"]
        # What re-entered may be undone with a turn further out than the asking one.
        if outcomes.get(id) == "ok" and id not in kept and step["how"] != "again":
            yield f"plan {id} was answered with ok, and is not kept"
    for step in steps(plan, "remind"):
        id = step["plan"]["id"]
        if (id in kept) is not (plan["id"] in kept):
            yield f"plan {id} was set as a reminder by {plan['id']}: one of them is kept, and not the other"
    for step in steps(plan, "tell"):
        if step["plan"]["id"] in kept and plan["id"] not in kept:
            yield f"plan {step['plan']['id']} was told by {plan['id']}, which is not kept"
        fails = any(inner["do"] in ("fail", "crash") for inner in step["plan"]["steps"])
        if plan["id"] in kept and not faulty and not fails and step["plan"]["id"] not in kept:
            yield f"plan {step['plan']['id']} was told by {plan['id']}, and got lost"
