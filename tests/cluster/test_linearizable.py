"""The checker of histories: good ones, bad ones, and random ones against an exhaustive search."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from tests.cluster.linearizable import NEVER, Operation, explain


def add(invoked: float, returned: float, result: int | None, n: int = 1) -> Operation:
    return Operation(what="add", argument=n, result=result, invoked=invoked, returned=returned)


def read(invoked: float, returned: float, result: int | None) -> Operation:
    return Operation(what="read", result=result, invoked=invoked, returned=returned)


def write(invoked: float, returned: float, value: int) -> Operation:
    return Operation(what="write", argument=value, result=value, invoked=invoked, returned=returned)


def lost(invoked: float, n: int = 1) -> Operation:
    return add(invoked, NEVER, None, n)


GOOD: dict[str, list[Operation]] = {
    "nothing": [],
    "one after another": [add(0, 1, 1), read(2, 3, 1), add(4, 5, 2), read(6, 7, 2)],
    "answers overtake each other": [add(0, 5, 2), add(1, 2, 1), read(3, 4, 1)],
    "a read sees what has not returned": [add(0, 9, 1), read(1, 2, 1), read(3, 4, 1)],
    "a read misses what has not returned": [add(0, 9, 1), read(1, 2, 0), read(3, 4, 1)],
    "unknown and done": [lost(0), read(1, 2, 1)],
    "unknown and not done": [lost(0), read(1, 2, 0), add(3, 4, 1)],
    "unknown and done much later": [lost(0), read(1, 2, 0), add(3, 4, 1), read(5, 6, 2)],
    "unknown of several sizes": [lost(0, 5), lost(0, 3), lost(0, 9), read(1, 2, 3), read(3, 4, 12)],
    "a read that failed": [add(0, 1, 1), read(0, NEVER, None)],
    "writes": [write(0, 3, 7), write(1, 2, 8), read(4, 5, 8), read(6, 7, 8)],
    "writes in either order": [write(0, 3, 7), write(1, 2, 8), read(4, 5, 7)],
}
BAD: dict[str, list[Operation]] = {
    "a lost update": [add(0, 1, 1), add(2, 3, 1)],
    "two at once with one answer": [add(0, 9, 1), add(0, 9, 1)],
    "a stale read": [add(0, 1, 1), read(2, 3, 0)],
    "a read from nowhere": [read(0, 1, 1)],
    "a read from the future": [read(0, 1, 1), add(2, 3, 1)],
    "reads that go back": [add(0, 9, 1), read(1, 2, 1), read(3, 4, 0)],
    "unknown, seen and gone": [lost(0), read(1, 2, 1), read(3, 4, 0)],
    "unknown before it began": [read(0, 1, 1), lost(2)],
    "unknown and done twice": [lost(0), read(1, 2, 2)],
    "acknowledged and missing": [add(0, 1, 1), add(2, 3, 2), lost(4), read(5, 6, 1)],
    "a failed one has happened": [add(0, 1, 1), read(2, 3, 2)],
    "writes that go back": [write(0, 3, 7), write(1, 2, 8), read(4, 5, 8), read(6, 7, 7)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_explained(name: str) -> None:
    for order in (GOOD[name], GOOD[name][::-1]):
        assert explain(order) is None


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_not(name: str) -> None:
    for order in (BAD[name], BAD[name][::-1]):
        assert explain(order) is not None


def test_what_stands_in_the_way_is_named() -> None:
    stuck = explain([add(0, 1, 6), read(2, 3, 5)], 5)
    assert stuck is not None
    assert (stuck.placed, stuck.count, [one.what for one in stuck.left]) == (1, 6, ["read"])
    assert "After 1 operations, at 6" in str(stuck)


def exhaustive(history: list[Operation]) -> bool:
    """Every order of every choice of unknown ones."""
    known = [one for one in history if one.known]
    unknown = [one for one in history if not one.known]
    return any(
        _fits(order)
        for size in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, size)
        for order in itertools.permutations([*known, *chosen])
    )


def _fits(order: Any) -> bool:
    count: int | None = 0
    for place, one in enumerate(order):
        if any(later.returned < one.invoked for later in order[place + 1 :]):
            return False
        count = one.apply(count)
        if count is None:
            return False
    return True


def guess(rng: random.Random) -> list[Operation]:
    """Answers that are often nearly right."""
    history = []
    for _ in range(rng.randint(2, 5)):
        invoked = rng.uniform(0, 6)
        returned = NEVER if rng.random() < 0.25 else invoked + rng.uniform(0.1, 4)
        what = rng.choice(["add", "add", "read"])
        result = None if returned == NEVER else rng.randint(0, 4)
        argument = rng.randint(1, 2) if what == "add" else 0
        history.append(Operation(what=what, argument=argument, result=result, invoked=invoked, returned=returned))
    return history


def test_it_agrees_with_an_exhaustive_search() -> None:
    rng = random.Random(91)
    verdicts = []
    for _ in range(1500):
        history = guess(rng)
        verdicts.append(exhaustive(history))
        assert (explain(history) is None) == verdicts[-1], history
    assert 100 < sum(verdicts) < 1400


def simulated(rng: random.Random, clients: int, operations: int) -> list[Operation]:
    """What clients of a right counter could be told."""
    history, count = [], 0
    ready = [0.0] * clients
    for moment in range(operations):
        client = rng.randrange(clients)
        invoked = max(ready[client], moment - rng.uniform(0.0, clients / 2))
        if invoked >= moment:
            continue
        ready[client] = returned = moment + rng.uniform(0.0, clients / 2)
        if rng.random() < 0.3:
            history.append(read(invoked, returned, count))
        elif rng.random() < 0.05:
            count += rng.random() < 0.5
            history.append(lost(invoked))
        else:
            count += 1
            history.append(add(invoked, returned, count))
    return history


def test_a_long_history_is_judged_in_time() -> None:
    history = simulated(random.Random(5), clients=30, operations=4000)
    assert len(history) > 2000
    assert explain(history) is None
    broken = next(one for one in reversed(history) if one.what == "add" and one.known)
    assert explain([*history, read(1e9, 2e9, broken.result - 500)]) is not None  # type: ignore[operator]
