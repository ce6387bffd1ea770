"""What a node is busy with, in words: for the message of a test that waited in vain."""

from __future__ import annotations

from collections.abc import Iterator

from lightmoon_django import testrun
from lightmoon_django.actor.turn import Turn
from lightmoon_django.runtime import overlap
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.node import Node
from lightmoon_django.runtime.states import ActivationState


def report(node: Node) -> str:
    """One line for each busy actor: its state, its mailbox, and what it waits for. Then what else is under way."""
    busy = [_line(one) for one in node.catalog if not one.quiet]
    return "\n".join(f"  {line}" for line in [*busy, *_elsewhere(node)]) or "  nothing: it has just ended"


def _line(activation: Activation) -> str:
    return (
        f"{activation.address} {activation.state.name} mailbox={len(activation.mailbox)} "
        f"gate={len(activation.gate)}: {'; '.join(_reasons(activation)) or 'about to go on'}"
    )


def _reasons(activation: Activation) -> Iterator[str]:
    if activation.state is ActivationState.LOADING:
        yield "waits for the store to claim and read its row"
    for turn in overlap.under_way(activation):
        yield _turn(turn)
    if activation.gate:
        yield "finished turns wait for the store to commit them"


def _turn(turn: Turn) -> str:
    name = f"turn {turn.number}, {turn.call.message.name} for {turn.call.caller or 'Python'}"
    if turn.waiting:
        return f"{name}, waits for {', '.join(str(call.address) for call in turn.waiting)}"
    if not turn.call.message.is_async:
        return f"{name}, runs in a thread or waits for one"
    return f"{name}, waits for something outside LightMoon"


def _elsewhere(node: Node) -> Iterator[str]:
    if not testrun.lending.idle:
        yield "database work waits for a thread that lends itself"
    if not node.callbacks.idle:
        yield "on_commit coroutines run"
