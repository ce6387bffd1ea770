"""Whether what concurrent clients were told of one counter can be explained by one order of its operations.

An operation takes effect at one moment between its invocation and its return. A history is linearizable when such
moments can be chosen so that every answer is right. One whose outcome is unknown may take effect at any moment after
that, or never. What certainly failed has no effect, so it is left out of a history.

The search is Wing and Gong's (1993), with Lowe's memory of states that were tried in vain (2017): the next in the order
is any operation that began before all others that are left have returned. Three facts about a counter keep it short. A
read that fits takes its place at once: that changes nothing, and only frees others. Of open operations of unknown
outcome that do the same, one is as good as another. And where a count only grows, an answer below it comes too late.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

NEVER = math.inf  # when an operation of unknown outcome returns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """`read` gives the count, `add` the count afterwards, `write` sets it."""

    what: str
    argument: int = 0
    result: int | None = None  # None: nobody was told
    invoked: float
    returned: float = NEVER
    who: str = ""  # for people

    @property
    def known(self) -> bool:
        return self.returned != NEVER

    def apply(self, count: int) -> int | None:
        """The count afterwards; None when the answer would have been wrong."""
        after = count if self.what == "read" else self.argument if self.what == "write" else count + self.argument
        return after if self.result is None or self.result == after else None

    def is_late(self, count: int) -> bool:
        """Whether its answer was passed by a count that only grows."""
        return self.result is not None and self.result < count + self.argument


@dataclasses.dataclass(frozen=True, slots=True)
class Stuck:
    """The longest order that was found, and what can't come next."""

    placed: int
    count: int
    left: Sequence[Operation]

    def __str__(self) -> str:
        lines = [f"After {self.placed} operations, at {self.count}, none of these can be next:"]
        for one in self.left[:20]:
            lines.append(f"  {one.invoked:.6f}-{one.returned:.6f} {one.what}({one.argument}) -> {one.result} {one.who}")
        return "\n".join(lines)


def explain(history: Sequence[Operation], count: int = 0) -> Stuck | None:
    """None when the history is linearizable from that count on; else how far an order gets."""
    return _Search(history).run(count)


@dataclasses.dataclass(slots=True)
class _Step:
    """One operation was placed; `choices` are others that may be, instead of the next one."""

    placed: int  # as a set of bits
    count: int
    first: int  # all known operations before are placed
    choices: Iterator[int]


class _Search:
    def __init__(self, history: Sequence[Operation]) -> None:
        self._known = sorted((one for one in history if one.known), key=lambda one: one.invoked)
        unknown = (one for one in history if not one.known and one.what != "read")
        self._all = [*self._known, *sorted(unknown, key=lambda one: one.invoked)]
        self._grows = all(one.what != "write" and one.argument >= 0 for one in self._all)
        self._tried: set[tuple[int, int]] = set()

    def run(self, count: int) -> Stuck | None:
        best = Stuck(-1, count, ())
        steps = [self._step(0, count, 0)]
        while steps:
            step = steps[-1]
            if step.first == len(self._known):
                return None
            if len(steps) - 1 > best.placed:
                best = Stuck(len(steps) - 1, step.count, self._next(step.placed, step.first))
            further = next((found for number in step.choices if (found := self._place(step, number))), None)
            if further is None:
                steps.pop()
            else:
                steps.append(further)
        return best

    def _step(self, placed: int, count: int, first: int) -> _Step:
        while first < len(self._known) and placed >> first & 1:
            first += 1
        return _Step(placed, count, first, iter(self._choices(placed, count, first)))

    def _place(self, step: _Step, number: int) -> _Step | None:
        after = self._all[number].apply(step.count)
        placed = step.placed | 1 << number
        if after is None or (placed, after) in self._tried:
            return None
        self._tried.add((placed, after))
        return self._step(placed, after, step.first)

    def _choices(self, placed: int, count: int, first: int) -> list[int]:
        """The numbers of those that may be next, and fit."""
        until, found = NEVER, []
        for number in range(first, len(self._known)):
            one = self._known[number]
            if one.invoked > until:
                break
            if placed >> number & 1:
                continue
            until = min(until, one.returned)
            if self._grows and one.is_late(count):
                return []
            if one.apply(count) is not None:
                if one.what == "read":
                    return [number]
                found.append(number)
        return found + self._unknown(placed, until)

    def _unknown(self, placed: int, until: float) -> list[int]:
        """The first of each kind that has begun."""
        found: dict[tuple[str, int], int] = {}
        for number in range(len(self._known), len(self._all)):
            one = self._all[number]
            if one.invoked > until:
                break
            if not placed >> number & 1:
                found.setdefault((one.what, one.argument), number)
        return list(found.values())

    def _next(self, placed: int, first: int) -> list[Operation]:
        until, found = NEVER, []
        for number in range(first, len(self._known)):
            one = self._known[number]
            if one.invoked > until:
                break
            if not placed >> number & 1:
                until = min(until, one.returned)
                found.append(one)
        return found
