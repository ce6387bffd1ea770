"""Whether a node has something under way. All functions are called on its loop.

Two degrees. *Idle*: nothing is under way at all. *At rest*: nothing goes on by itself; a turn may be waiting for what
only the test can bring about, as a later time. Prior art: trio's `wait_all_tasks_blocked`. As asyncio doesn't show
which tasks are blocked, rest is what looks the same over several passes of the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from lightmoon_django import testrun
from lightmoon_django.actor.turn import Turn
from lightmoon_django.runtime import overlap
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.node import Node
from lightmoon_django.runtime.states import ActivationState
from lightmoon_django.testing.report import report

PASSES = 5  # of the loop without a change before a node counts as at rest
PAUSE = 0.0005  # seconds between looks while other threads have work
PATIENCE = 10.0  # seconds until a node that doesn't come to rest fails its test


Picture = list[tuple[Any, ...]]


def never() -> bool:
    return False


def idle(node: Node) -> bool:
    """Nothing is under way: mailboxes and gates are empty, stores and lent threads have nothing to do."""
    return node.idle and testrun.lending.idle and all(_ended(one) for one in node.catalog)


async def until_idle(node: Node, limit: float) -> None:
    """Return when nothing is under way. Raises `AssertionError` with what is, after `limit` seconds."""
    await _passes(node, lambda: idle(node), limit, f"Still busy after {limit:g} s:")


async def until_at_rest(node: Node, held: Callable[[], bool] = never) -> None:
    """Return when nothing goes on by itself. `held`: whether the test keeps the stores from answering."""
    await _passes(node, lambda: _at_rest(node, held()), PATIENCE, f"Not at rest after {PATIENCE:g} s:")


async def _passes(node: Node, still: Callable[[], bool], limit: float, complaint: str) -> None:
    """Let the loop run until `still()` holds over several passes in which nothing changes."""
    deadline = time.monotonic() + limit
    calm, before = 0, picture(node)
    while calm < PASSES:
        found = still()
        await asyncio.sleep(0 if found else PAUSE)
        now = picture(node)
        calm = calm + 1 if found and now == before else 0
        before = now
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint}\n{report(node)}")


def picture(node: Node) -> Picture:
    """Changes whenever an actor gets on."""
    return [
        (id(one), one.state, len(one.mailbox), len(one.gate), [turn.number for turn in overlap.under_way(one)])
        for one in node.catalog
    ]


def _ended(activation: Activation) -> bool:
    return activation.quiet or activation.state is ActivationState.ENDED


def _at_rest(node: Node, held: bool) -> bool:
    return node.idle and testrun.lending.idle and not any(_goes_on(one, held) for one in node.catalog)


def _goes_on(activation: Activation, held: bool) -> bool:
    """Whether an actor does something without the test's help."""
    if _ended(activation):
        return False
    if activation.gate or activation.state is ActivationState.LOADING:
        return not held
    turns = list(overlap.under_way(activation))
    return any(_turn_goes_on(turn) for turn in turns) if turns else True


def _turn_goes_on(turn: Turn) -> bool:
    """Whether a turn is working or about to get an answer, and not waiting for somebody who isn't."""
    if turn.waiting:
        asked = [turn.activation.node.find(call.address) for call in turn.waiting]
        return all(one is None or _ended(one) for one in asked)
    return turn.runner is None
