"""The release of a durable turn: patches, events and tells go out, then its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightmoon_django import codec
from lightmoon_django.actor.call import Subscription
from lightmoon_django.actor.turn import Turn, TurnState
from lightmoon_django.errors import LightMoonError
from lightmoon_django.runtime.streams import params_of

if TYPE_CHECKING:
    from lightmoon_django.persistence.store import Snapshot
    from lightmoon_django.runtime.activation import Activation


def release(activation: Activation, turn: Turn) -> None:
    """Let a turn out. Called once per turn, in the order of turns, when all it depends on is durable."""
    if turn.error is not None:
        reject(turn, turn.error)
        return
    turn.state = TurnState.RELEASED
    if activation.view and turn.before is not turn.after and activation.followed:
        _patch(activation, turn)
    for name, data in turn.events or ():
        activation.stream.emit(name, data)
    for tell in turn.tells or ():
        activation.node.post(tell)
    if turn.callbacks is not None:
        activation.node.callbacks.run(turn.callbacks)
    if isinstance(turn.call, Subscription) and not turn.answered:  # else its subscriber was told that it failed
        turn.payload = _follow(activation, turn.call, turn.after)
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


def _patch(activation: Activation, turn: Turn) -> None:
    """Tell subscribers the view fields that the turn changed."""
    before, after = turn.before, turn.after
    changed = {
        name: activation.columns.value(after, position)
        for name, position in activation.view
        if before[position] != after[position]
    }
    if changed:
        activation.stream.patch(codec.encode_json(changed))


def _follow(activation: Activation, call: Subscription, snapshot: Snapshot) -> bytes:
    """Add a subscriber; its answer is the position from which its frames go on, and what leads there.

    That is the frames that it missed since its own position, or the state where they are not held.
    """
    stream = activation.stream
    missed = stream.missed(call.since) if call.since is not None else None
    stream.join(call.subscriber)
    if missed is not None:
        events = ",".join(map(params_of, missed))
        head = f'"epoch":"{stream.epoch}","seq":{stream.seq}'
        return f'{{{head},"recovered":true,"state":null,"events":[{events}]}}'.encode()
    state = {name: activation.columns.value(snapshot, position) for name, position in activation.view}
    return codec.encode_json(
        {
            "epoch": stream.epoch,
            "seq": stream.seq,
            "recovered": False,
            "state": state if activation.view else None,
            "events": [],
        }
    )
