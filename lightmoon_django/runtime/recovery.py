"""What becomes of turns and calls when something they built on is gone.

Two ways back to what is stored. `undo` takes one actor's memory back in place: one turn's changes were refused, the
row is still ours and still what we know. `lose` gives the activation up: the row may hold anything, so whatever can
run again runs on a fresh one.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from lightmoon_django.actor.call import Call, Unsubscription
from lightmoon_django.actor.turn import Turn, abandon
from lightmoon_django.errors import Cancelled, Conflict, LightMoonError, OutcomeUnknown
from lightmoon_django.runtime import overlap
from lightmoon_django.runtime.failure import explained
from lightmoon_django.runtime.release import reject

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation
    from lightmoon_django.runtime.gate import Entry


def undo(activation: Activation, turn: Turn, error: Exception, unwound: list[Entry]) -> None:
    """The database refused the changes of `turn`: it fails, and the unwound turns run again on what is stored."""
    reject(turn, explained(error, turn.call, activation.node.debug))
    calls = _again(unwound, "An earlier turn of the actor could not be stored.") + _not_begun(activation)
    if activation.running is not None or activation.readers or activation.stale:
        give_up_running(activation, Conflict("The turn built on state that could not be stored. Nothing was kept."))
        activation.node.catalog.replace(activation, calls, "undone")
        return
    activation.barrier = False  # a turn among the unwound that waited to commit alone starts anew
    activation.head = turn.before
    activation.columns.restore(activation.instance, turn.before)
    activation.mailbox[:0] = calls
    activation.gate_opened()


def lose(
    activation: Activation,
    reason: str,
    *,
    unsettled: Collection[Turn] = (),
    unwound: list[Entry] | None = None,
    again: Collection[Call] = (),
    ours: bool = False,
) -> None:
    """Give up memory and go on from what is stored.

    Turns in `unsettled` may be stored: they end as OutcomeUnknown. The calls in `again` run first. `ours`: the actor is
    still this node's for certain, and one that is in memory only keeps the state of before the running turn.
    """
    entries = activation.gate.unwind() if unwound is None else unwound
    for turn in unsettled:
        reject(turn, OutcomeUnknown(f"It can't be told whether the call happened: {reason}"))
    calls = [*again, *_again(entries, reason), *_not_begun(activation)]
    give_up_running(activation, Conflict(f"The turn was undone: {reason} Nothing of it was stored."))
    activation.node.catalog.replace(activation, calls, "changed", ours=ours)


def end(activation: Activation, error: LightMoonError) -> None:
    """The node ends before the activation could: everybody who waits is answered, as well as can be told."""
    for entry in activation.gate.unwind():
        begun = entry.begun or (entry.ticket is not None and entry.ticket.taken)
        known: LightMoonError = OutcomeUnknown("This process ended during the commit.") if begun else error
        if entry.departure is not None:
            entry.departure.reject(error)
        elif entry.turn is not None:
            reject(entry.turn, known)
    unknown = OutcomeUnknown("This process ended during the commit.")
    if not give_up_running(activation, error):
        for turn in overlap.under_way(activation):
            reject(turn, unknown)
    activation.node.catalog.give_up(activation, error)


def give_up_running(activation: Activation, error: LightMoonError) -> bool:
    """Abandon the turns that run, and answer their callers. False: a commit has begun and must be awaited."""
    turns = list(overlap.under_way(activation))
    if not all(abandon(turn) for turn in turns):  # a commit is begun only by a turn that is alone
        return False
    activation.running = activation.readers = None
    if turns:
        activation.barrier = False
    for turn in turns:
        overlap.end(activation, turn, error)
    overlap.refuse_reentering(activation, error)
    return True


def give_up_reader(activation: Activation, turn: Turn, error: LightMoonError) -> None:
    """Abandon one read-only turn; those beside it go on."""
    abandon(turn)
    overlap.leave(activation, turn)
    overlap.end(activation, turn, error)


def _not_begun(activation: Activation) -> list[Call]:
    """The call of a `def` turn that still waits for the gate: nobody has touched its handler, so it just runs later."""
    turn = activation.running
    if turn is None or turn.call.message.is_async or turn.runner is not None:
        return []
    if turn.cancelled or turn.call.message.name in activation.schema.lifecycle or not abandon(turn):
        return []
    activation.running = None
    activation.barrier = False
    return [turn.call]


def _again(entries: list[Entry], reason: str) -> list[Call]:
    """The calls to run again, in order. Those whose turn somebody may have seen are answered with `Conflict`."""
    calls: list[Call] = []
    for entry in entries:
        if entry.departure is not None:
            entry.departure.reject(Conflict(f"The asking turn was undone: {reason}"))
        elif entry.turn is None or entry.turn.answered or isinstance(entry.turn.call, Unsubscription):
            continue
        elif entry.turn.call.cancelled:
            reject(entry.turn, Cancelled("The caller cancelled the call; its turn was undone."))
        elif entry.turn.suspended:
            reject(entry.turn, Conflict(f"The turn was undone: {reason} Nothing of it was stored."))
        else:
            calls.append(entry.turn.call)
    return calls
