"""Random trees of asks, tells, failures, cancellations and faults over many actors, against a simulation.

A failing seed is printed; `LIGHTMOON_SEED=17 make test PYTEST_ARGS="-k model"` runs that one alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from django.db import DatabaseError, models

from lightmoon_django import ref
from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Call
from lightmoon_django.errors import LightMoonError
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from lightmoon_django.models import Outgoing, Reminder
from lightmoon_django.persistence.store import Committed, Failed, Locked, Unsettled
from lightmoon_django.runtime import overlap
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.timers import Tick
from tests.model.models import Cell, Witness
from tests.model.plans import Planner, Stored, troubles
from tests.runtime.conftest import World, describe

ACTORS = 7
PLANS = 40
PATIENCE = 25.0  # seconds for one seed: less than a call's deadline, so that what hangs can be seen
QUICK = 12  # seeds in `make test`
MANY = 500  # and in `make test-slow`, for each database, with and without faults


class Follower:
    """Follows one actor's stream, and joins it again after each reset."""

    def __init__(self, key: str) -> None:
        self.id = f"follower-{key}"
        self.key = key
        self.seen: list[int] = []
        self.beaten: list[int] = []
        self.resets = 0
        self.over = False  # nothing more is wanted of the actor

    def push(self, frame: str) -> None:
        params = json.loads(frame)["params"]
        if params.get("name") == "ran":
            self.seen.append(params["data"]["id"])
        elif params.get("name") == "beaten":
            self.beaten.append(params["data"]["n"])

    def reset(self, address: object, reason: str) -> None:
        if self.over and reason == "deactivated":
            return  # all of it has been heard
        self.resets += 1
        self.join()

    def join(self) -> None:
        node = host.node
        if node is None:
            return  # it was stopped
        activation = node.find(Address(registry.name_of(Cell), self.key))
        if activation is not None:
            activation.stream.subscribers[self.id] = self


class Faults:
    """Makes the store of the actors fail now and then, in each way that a database can."""

    def __init__(self, store: Any, rng: random.Random) -> None:
        self._store = store
        self._commit, self._transact = store.commit, store.transact
        self._rng = rng
        store.commit, store.transact = self.commit, self.transact

    def end(self) -> None:
        self._store.commit, self._store.transact = self._commit, self._transact

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        fates = [self._rng.choices(["fine", "failed", "locked", "unsettled"], [88, 6, 4, 2])[0] for _ in writes]
        passed = [write for write, fate in zip(writes, fates, strict=True) if fate in ("fine", "unsettled")]
        found = iter(self._commit(passed) if passed else [])
        outcomes = []
        for fate in fates:
            outcome = next(found) if fate in ("fine", "unsettled") else None
            if fate == "failed":
                outcome = Failed(DatabaseError("Injected."))
            elif fate == "locked":
                outcome = Locked()
            elif fate == "unsettled" and isinstance(outcome, Committed):
                outcome = Unsettled(DatabaseError("Injected."))
            outcomes.append(outcome)
        return outcomes

    def transact(self, barrier: Any) -> Any:
        if self._rng.random() < 0.1:
            return Failed(DatabaseError("Injected."))
        return self._transact(barrier)


def calls_of(activation: Activation) -> list[Call]:
    """What it has to do beyond its timer's ticks."""
    calls = [*activation.mailbox, *(turn.call for turn in activation.gate.turns())]
    calls += [turn.call for turn in overlap.under_way(activation)]
    return [call for call in calls if not isinstance(call, Tick)]


class Run:
    """One seed, from its rows to the verdict."""

    def __init__(self, world: World, seed: int, *, faulty: bool) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.planner = Planner(self.rng, ACTORS)
        self.faulty = faulty
        self.outside = [0] * ACTORS

    async def verdict(self) -> list[str]:
        Witness.clear()
        self.keys = await self.world.db(self._rows)
        self.followers = [Follower(key) for key in self.keys]
        await asyncio.gather(*[ref(Cell, key).read({}) for key in self.keys])
        for follower in self.followers:
            follower.join()
        with self._faults():
            self.at = "calls"
            await asyncio.gather(*[self._top(*self.planner.top()) for _ in range(PLANS)], *self._disturbances())
            await self._settled()
        stored = await self.world.db(self._stored)
        return list(troubles(self.planner, stored, Witness.outcomes, self.outside, faulty=self.faulty))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        if not self.faulty:
            yield
            return
        faults = Faults(self.world.node.store_of(registry.schema_of(Cell)).store, self.rng)
        try:
            yield
        finally:
            faults.end()

    def _rows(self) -> list[str]:
        first = Cell.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        Cell.objects.bulk_create([Cell(pk=first + n + 1) for n in range(ACTORS)])
        self._name_targets(range(first + 1, first + 1 + ACTORS))
        return [str(first + n + 1) for n in range(ACTORS)]

    def _name_targets(self, pks: Iterable[int]) -> None:
        self.pks = list(pks)

    def _addressed(self, plan: dict[str, Any]) -> dict[str, Any]:
        """The plan with keys instead of actors' numbers."""
        return {
            "id": plan["id"],
            "steps": [
                {**step, "to": str(self.pks[step["to"]]), "plan": self._addressed(step["plan"])}
                if "to" in step
                else step
                for step in plan["steps"]
            ],
        }

    async def _top(self, target: int, how: str, plan: dict[str, Any]) -> None:
        for _ in range(self.rng.randrange(6)):
            await asyncio.sleep(0)
        message = getattr(ref(Cell, self.keys[target]), how)
        if how == "once":
            message = message.options(call_id=f"{self.pks[0]}-{plan['id']}")
        task = asyncio.ensure_future(message(self._addressed(plan)))
        if self.rng.random() < 0.1:
            for _ in range(self.rng.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except LightMoonError as error:
            Witness.outcomes[plan["id"]] = error.code
        except asyncio.CancelledError:
            Witness.outcomes[plan["id"]] = "cancelled"
        else:
            Witness.outcomes[plan["id"]] = "read" if how == "read" else "ok"

    def _disturbances(self) -> list[Any]:
        return [self._deactivate(), self._write_outside()]

    async def _deactivate(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0.002)
            activation = self.world.node.find(Address(registry.name_of(Cell), self.rng.choice(self.keys)))
            if activation is not None:
                self.world.node.catalog.deactivate(activation)

    async def _write_outside(self) -> None:
        for _ in range(3 if self.faulty else 0):
            await asyncio.sleep(0.003)
            number = self.rng.randrange(ACTORS)
            rows = Cell.objects.filter(pk=self.pks[number])
            await self.world.db(lambda rows=rows: rows.update(outside=models.F("outside") + 1))
            self.outside[number] += 1

    async def _settled(self) -> None:
        """Until the tells and the reminders have run too. Then the timers stop."""
        node = self.world.node
        self.at = "what they have told"
        while any(map(calls_of, node.catalog)) or await self.world.db(Reminder.objects.exists):
            await asyncio.sleep(0.002)
        for follower in self.followers:
            follower.over = True
        self.at = "deactivation"
        while len(node.catalog):
            for activation in node.catalog:
                node.catalog.deactivate(activation)
            await asyncio.sleep(0.001)

    async def waits(self) -> str:
        """What it is still waiting for."""
        calls = [f"{one.address} {call.message.name}" for one in self.world.node.catalog for call in calls_of(one)]
        rows = await self.world.db(lambda: (list(Reminder.objects.values()), Outgoing.objects.count()))
        return f"{self.at}; under way: {calls}; reminders: {rows[0]}; durable tells: {rows[1]}"

    def _stored(self) -> list[Stored]:
        rows = Cell.objects.in_bulk(self.pks)
        return [
            Stored(
                row.total,
                row.ledger,
                row.others,
                row.outside,
                follower.seen,
                follower.resets,
                row.beats,
                follower.beaten,
            )
            for row, follower in zip([rows[pk] for pk in self.pks], self.followers, strict=True)
        ]


async def judge(world: World, seed: int, *, faulty: bool) -> None:
    run = Run(world, seed, faulty=faulty)
    verdict = asyncio.ensure_future(run.verdict())
    done, _ = await asyncio.wait({verdict}, timeout=PATIENCE)
    if done:
        found = verdict.result()
    else:
        found = [f"It did not end within {PATIENCE} s.\n{describe()}\n{await run.waits()}"]
        verdict.cancel()
        await asyncio.wait({verdict})
    assert not found, f"LIGHTMOON_SEED={seed}, faulty={faulty}:\n" + "\n".join(found)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is planned to fail is logged by the thousand."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def seeds(count: int) -> Iterable[int]:
    return [int(os.environ["LIGHTMOON_SEED"])] if "LIGHTMOON_SEED" in os.environ else range(count)


@pytest.mark.parametrize("faulty", [False, True])
async def test_random_trees_of_calls_equal_a_simulation(stored: World, faulty: bool) -> None:
    """B54 (within one process), B26, B27, B29, B34, B51, B55: rows, answers and events agree with the simulation."""
    assert stored.node is not None
    for seed in seeds(QUICK):
        await judge(stored, seed, faulty=faulty)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("faulty", [False, True])
async def test_many_random_trees_of_calls_equal_a_simulation(stored: World, faulty: bool) -> None:
    """B54: thousands of seeds."""
    assert stored.node is not None
    for seed in seeds(MANY):
        await judge(stored, seed, faulty=faulty)
