"""The release of a durable turn: patches, events and tells go out, then its answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.actor.call import Subscription
from lightmoon_django.actor.turn import Turn, TurnState
from lightmoon_django.errors import LightMoonError
from lightmoon_django.runtime.failure import explained
from lightmoon_django.runtime.streams import params_of

logger = logging.getLogger("lightmoon")

if TYPE_CHECKING:
    from lightmoon_django.persistence.store import Snapshot
    from lightmoon_django.runtime.activation import Activation


def release(activation: Activation, turn: Turn) -> None:
    """Let a turn out. Called once per turn, in the order of turns, when all it depends on is durable."""
    if turn.error is not None:
        reject(turn, turn.error)
        return
    turn.state = TurnState.RELEASED
    for observe in activation.node.observers:
        observe(activation, turn)
    if activation.view is not None and turn.before is not turn.after and activation.followed:
        _patch(activation, turn)
    for name, data in turn.events or ():
        activation.stream.emit(name, data)
    for tell in turn.tells or ():
        activation.node.post(tell, told=True)
    if turn.records is not None:
        activation.node.reminders.noted(activation, turn.records)
    if turn.callbacks is not None:
        activation.node.callbacks.run(turn.callbacks)
    if isinstance(turn.call, Subscription) and not turn.answered:  # else its subscriber was told that it failed
        try:
            turn.payload = _follow(activation, turn.call, turn.after)
        except Exception as error:  # of a serializer
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


def _patch(activation: Activation, turn: Turn) -> None:
    """Tell subscribers what of the view the turn changed. If that can't be told they subscribe anew, and hear why."""
    mark = turn.call.mark
    try:
        if activation.audience is not None:
            activation.stream.patch_each(activation.audience.changes(activation, turn), mark)
            return
        changed, gone = patch(activation, turn)
        if changed or gone:
            activation.stream.patch(codec.encode_json(changed), codec.encode_json(gone), mark)
    except Exception:  # of a serializer
        logger.exception("%s has no view.", activation.address, extra={"action": "view_failed"})
        activation.end_stream("the view failed")


def patch(activation: Activation, turn: Turn) -> tuple[dict[str, Any], list[str]]:
    """New values of what a finished turn changed of the view, and the names that are gone. Raises as serializers do."""
    if activation.view is None:
        return {}, []
    return activation.view.changes(activation.columns, turn.before, turn.after, activation.key)


def _follow(activation: Activation, call: Subscription, snapshot: Snapshot) -> bytes:
    """Add a subscriber; its answer is the position from which its frames go on, and what leads there.

    That is the frames that it missed since its own position, or the state where they are not held. Where users see
    different things it is both: patches are not kept there.
    """
    stream, state = activation.stream, b"null"
    missed = stream.missed(call.since) if call.since is not None else None
    if activation.audience is not None:
        state = activation.audience.join(activation, call.caller or "", call.user, snapshot)
    elif activation.view is not None and missed is None:
        state = codec.encode_json(activation.view.state(activation.columns, snapshot, activation.key))
    hidden = call.hidden if activation.schema.guarded else ()
    events = ",".join(params_of(frame, hidden) for frame in missed or ())
    stream.join(call.subscriber)
    present = activation.node.presences.join(activation, call)
    tail = "" if present is None else f',"presence":{codec.encode_json(present).decode()}'
    recovered = "false" if missed is None else "true"
    head = f'"epoch":"{stream.epoch}","seq":{stream.seq},"recovered":{recovered}'
    return f'{{{head},"state":{state.decode()},"events":[{events}]{tail}}}'.encode()
