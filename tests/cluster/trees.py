"""Trees of calls, and what of one may have happened, given how its root ended.

A call that was sent is not undone when the turn that sent it fails later; so of a tree that failed any part may have
happened. But never twice; and where one call follows another, not before all of that.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """One call to one actor, and those that it makes in turn. Keys grow on the way down, so there are no cycles."""

    key: int
    name: str
    then: Sequence[Tree]

    def walk(self) -> Iterator[Tree]:
        yield self
        for one in self.then:
            yield from one.walk()

    def arguments(self) -> list[Any]:
        return [one.described() for one in self.then]

    def described(self) -> list[Any]:
        return [leaf(self.key), self.name, self.arguments()]


def leaf(key: int) -> str:
    return f"leaf-{key:02}"


def planted(rng: random.Random, name: str, keys: int, first: int = 0, depth: int = 0) -> Tree:
    """A random tree over that many actors."""
    key = rng.randrange(first, keys)
    branches = rng.choice((1, 2, 2, 3)) if depth < 3 and key < keys - 1 else 0
    then = [planted(rng, f"{name}.{branch}", keys, key + 1, depth + 1) for branch in range(branches)]
    return Tree(key, name, then)


def misfits(tree: Tree, ended: str, in_order: bool, done: Mapping[int, Counter[str]]) -> list[str]:
    """What of the actors' state a simulation excludes. `ended`: "ok", the error of the root, or "" if nobody knows."""
    found = [
        f"{one.name} happened {count} times" for one in tree.walk() if (count := done[one.key][one.name]) not in (0, 1)
    ]
    if ended == "ok":
        found += [f"{one.name} was acknowledged and is missing" for one in tree.walk() if not _is(one, done)]
    elif ended not in ("", "OutcomeUnknown") and _is(tree, done):
        found.append(f"{tree.name} ended with {ended} and happened")
    if in_order:
        found += [text for one in tree.walk() for text in _too_early(one, done)]
    return found


def _is(one: Tree, done: Mapping[int, Counter[str]]) -> bool:
    return done[one.key][one.name] > 0


def _too_early(parent: Tree, done: Mapping[int, Counter[str]]) -> Iterator[str]:
    """A call was sent though the one before it had not ended well."""
    for before, after in zip(parent.then, parent.then[1:], strict=False):
        if any(_is(one, done) for one in after.walk()):
            for one in before.walk():
                if not _is(one, done):
                    yield f"{after.name} or what it called happened, and {one.name} before it did not"
