"""Which turns of one actor may overlap: those that only read, and those that re-enter a turn that waits for them.

A read-only turn that waits for something steps aside: other read-only turns may start meanwhile, in the order of the
mailbox, so that a writer is never starved. A call that a turn of the same actor waits for, directly or through others,
can't wait in the mailbox: it starts ahead of it where that is safe (`reentrant`, or reading beside readers), and is a
deadlock otherwise.

A turn that re-enters runs on the state in the middle of the outer one, and becomes a part of it: what it changes, emits
and tells is kept or undone with the outer turn. Alone it can only fail: then its own changes are taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.turn import Turn, TurnState, abandon
from lightmoon_django.errors import Cancelled, Conflict
from lightmoon_django.persistence.records import latest
from lightmoon_django.runtime.failure import explained

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation

_SHARED = ("events", "tells", "saves", "deletes", "records", "callbacks")


def only_reads(call: Call) -> bool:
    """Whether its turn may overlap others of its kind."""
    return call.message.options.read_only and call.message.is_async


def under_way(activation: Activation) -> Iterator[Turn]:
    """All turns that have started and not ended, the innermost first."""
    turn = activation.running
    while turn is not None:
        yield turn
        turn = turn.outer
    if activation.readers:
        yield from activation.readers


def step_aside(activation: Activation, turn: Turn) -> None:
    """A read-only turn waits for something: others may start."""
    if activation.running is turn and turn.outer is None and only_reads(turn.call):
        activation.running = None
        activation.readers = [*(activation.readers or ()), turn]
        activation.schedule()


def leave(activation: Activation, turn: Turn) -> bool:
    """The turn has ended. False: turns that re-entered it were still under way, and have been given up."""
    if activation.running is turn:
        activation.running = None
        return True
    if activation.readers and turn in activation.readers:
        activation.readers = [one for one in activation.readers if one is not turn] or None
        return True
    while activation.running is not None and activation.running is not turn:
        nested, activation.running = activation.running, activation.running.outer
        if abandon(nested):
            end(activation, nested, Conflict("The turn that this call re-entered has ended without it."))
    activation.running = None
    return False


def end(activation: Activation, turn: Turn, error: Any) -> None:
    """Stop an abandoned turn, take back what it asks of others, and answer its caller."""
    for call in turn.waiting or ():
        activation.node.cancel(call)
    if turn.runner is not None:
        turn.runner.cancel()
    if not turn.answered:
        turn.answered = True
        activation.refuse(turn.call, error)


def reenters(activation: Activation, call: Call) -> bool:
    """Whether a call comes from a turn that waits here, and may start ahead of the mailbox.

    Nothing may start beside a `def` message, whose fields and transaction are its thread's alone.
    """
    if activation.running is not None:
        fits = call.message.options.reentrant and not activation.barrier
    else:
        fits = bool(activation.readers) and only_reads(call)
    return fits and any(turn in call.chain for turn in under_way(activation))


def next_reentering(activation: Activation) -> Call | None:
    """The call that the innermost turn, or a reader, waits for."""
    running = activation.running
    for call in activation.reentering or ():
        if running is None or running in call.chain:
            forget(activation, call)
            return call
    return None


def forget(activation: Activation, call: Call) -> None:
    """It has started, or is not wanted any more."""
    activation.reentering = [one for one in activation.reentering or () if one is not call] or None


def enter(activation: Activation, turn: Turn) -> None:
    """A turn starts."""
    if activation.running is not None:
        turn.outer = activation.running
        turn.before = activation.columns.snapshot(turn.instance)
    activation.running = turn


def rejoin(activation: Activation, turn: Turn, result: Any, error: BaseException | None) -> None:
    """A turn that re-entered has ended: it becomes a part of the outer one, or leaves no trace."""
    outer = turn.outer
    assert outer is not None
    if activation.running is not turn:  # something that re-entered this one in turn is still under way
        leave(activation, turn)
        error = error or Conflict("The turn ended while a call that re-entered it was still running.")
    activation.running = outer
    try:
        if error is not None:
            raise error
        turn.payload = turn.call.encode(result)
        if turn.call.message.options.read_only and activation.columns.snapshot(turn.instance) != turn.before:
            raise TypeError(f"{turn.call.message.wire_name} is read_only, yet it changed fields.")
        activation.complete(turn)
    except BaseException as found:
        activation.columns.restore(turn.instance, turn.before)
        turn.state = TurnState.FAILED
        turn.answered = True
        activation.refuse(turn.call, explained(found, turn.call, activation.node.debug))
    else:
        _share(turn, outer)
        turn.state = TurnState.RELEASED
        turn.answered = True
        activation.answer(turn.call, turn.payload)
    if activation.reentering is not None:
        activation.schedule()


def refuse_reentering(activation: Activation, error: Any) -> None:
    """The activation ends: what waited to re-enter has nothing to come back to."""
    waiting, activation.reentering = activation.reentering, None
    for call in waiting or ():
        activation.refuse(call, error if not call.cancelled else Cancelled("The caller cancelled the call."))


def _share(turn: Turn, outer: Turn) -> None:
    for name in _SHARED:
        mine = getattr(turn, name)
        if mine:
            setattr(outer, name, [*(getattr(outer, name) or ()), *mine])
    if turn.records:
        outer.records = latest(outer.records or [])
