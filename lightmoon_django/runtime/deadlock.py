"""Cycles of actors that would wait for each other.

Each ask adds an edge from the turn that waits to the actor it asks. The ask that would close a cycle is refused, so
cycles never form: it is found by walking from the asked actor's running turn along what that turn waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightmoon_django.actor.call import Call
from lightmoon_django.errors import DeadlockError
from lightmoon_django.identity import Address
from lightmoon_django.runtime import overlap

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation


def find(call: Call, target: Activation, lookup: Callable[[Address], Activation | None]) -> DeadlockError | None:
    """The error for an ask from a turn that `target` waits for already, directly or through others; None if free."""
    if target.running is None and overlap.only_reads(call) and all(map(overlap.only_reads, target.mailbox)):
        return None  # it overlaps whatever reads there
    asking = call.chain[-1]
    askers = call.chain  # whoever waits for one of them waits for the asking one
    seen: set[Address] = set()

    def walk(activation: Activation, path: list[str]) -> list[str] | None:
        turns = list(overlap.under_way(activation))
        if any(turn in askers for turn in turns):
            return path
        if activation.address in seen:
            return None
        seen.add(activation.address)
        for waiting in (one for turn in turns for one in turn.waiting or ()):
            found = lookup(waiting.address)
            cycle = walk(found, [*path, str(waiting.address)]) if found is not None else None
            if cycle is not None:
                return cycle
        return None

    start = str(asking.call.address)
    cycle = walk(target, [start, str(target.address)])
    return DeadlockError(_closed(cycle, start)) if cycle is not None else None


def _closed(path: list[str], start: str) -> list[str]:
    return path if path[-1] == start else [*path, start]
