"""The release of a durable turn: patches, events and tells go out, then its answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.actor.call import Subscription
from lightmoon_django.actor.turn import Turn, TurnState
from lightmoon_django.errors import LightMoonError
from lightmoon_django.runtime.failure import explained

if TYPE_CHECKING:
    from lightmoon_django.persistence.store import Snapshot
    from lightmoon_django.runtime.activation import Activation


logger = logging.getLogger("lightmoon")


def release(activation: Activation, turn: Turn) -> None:
    """Let a turn out. Called once per turn, in the order of turns, when all it depends on is durable."""
    if turn.error is not None:
        reject(turn, turn.error)
        return
    turn.state = TurnState.RELEASED
    for observe in activation.node.observers:
        observe(activation, turn)
    if activation.view and turn.before is not turn.after and activation.subscribed:
        _try_to_patch(activation, turn)
    for name, data in turn.events or ():
        activation.stream.emit(name, data)
    for tell in turn.tells or ():
        activation.node.post(tell)
    if turn.callbacks is not None:
        activation.node.callbacks.run(turn.callbacks)
    if isinstance(turn.call, Subscription) and not turn.answered:  # else its subscriber was told that it failed
        try:
            turn.payload = _follow(activation, turn.call, turn.after)
        except Exception as error:  # a value of the view that JSON can't carry
            reject(turn, explained(error, turn.call, activation.node.debug))
    if not turn.answered:
        turn.answered = True
        turn.call.resolve(turn.payload)
        if turn.call.identity is not None and activation.repeats is not None:
            activation.repeats.succeeded(turn.call.identity, turn.payload)


def reject(turn: Turn, error: LightMoonError) -> None:
    """Answer a turn's caller with an error, unless it has an answer already."""
    if not turn.answered:
        turn.answered = True
        turn.activation.refuse(turn.call, error)


def _try_to_patch(activation: Activation, turn: Turn) -> None:
    """The turn is stored and must be answered, even if the state that it left can't be sent."""
    try:
        _patch(activation, turn)
    except Exception:
        logger.exception("The view of %s can't be sent.", activation.address, extra={"action": "view_failed"})
        activation.stream.end("error")


def _patch(activation: Activation, turn: Turn) -> None:
    """Tell subscribers the view fields that the turn changed."""
    changed = patch(activation, turn)
    if changed:
        activation.stream.patch(codec.encode_json(changed))


def patch(activation: Activation, turn: Turn) -> dict[str, Any]:
    """New values of the view fields that a finished turn changed."""
    before, after = turn.before, turn.after
    return {
        name: activation.columns.value(after, position)
        for name, position in activation.view
        if before[position] != after[position]
    }


def _follow(activation: Activation, call: Subscription, snapshot: Snapshot) -> bytes:
    """Add a subscriber; its answer is the position and the state from which its frames go on."""
    stream = activation.stream
    state = {name: activation.columns.value(snapshot, position) for name, position in activation.view}
    answer = codec.encode_json(
        {
            "epoch": stream.epoch,
            "seq": stream.seq,
            "recovered": False,
            "state": state if activation.view else None,
            "events": [],
        }
    )
    stream.subscribers[call.subscriber.id] = call.subscriber
    return answer
