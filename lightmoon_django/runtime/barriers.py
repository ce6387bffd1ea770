"""Turns that commit alone, in a worker thread's transaction: `def` messages, and turns with other objects to save.

Such a turn is a barrier of its actor: it starts when everything before it is durable, and the next turn starts after
it. That costs group commit for this one actor, and buys Django's whole convention: transactions, signals, `save()`.
"""

from __future__ import annotations

import contextvars
import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.turn import Turn, TurnState, enter, seal
from lightmoon_django.errors import Cancelled, Conflict, Unavailable
from lightmoon_django.persistence.refusal import refusing
from lightmoon_django.persistence.store import (
    Barrier,
    Committed,
    Down,
    Failed,
    Locked,
    Lost,
    Missing,
    Snapshot,
    UnitOfWork,
    Unsettled,
)
from lightmoon_django.runtime import recovery
from lightmoon_django.runtime.release import reject, release

logger = logging.getLogger("lightmoon")

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation
    from lightmoon_django.runtime.gate import Entry
    from lightmoon_django.runtime.workers import Abandonable, WorkerPool


class Barriers:
    """Runs barrier turns of all activations of a node."""

    def __init__(self, workers: WorkerPool) -> None:
        self._workers = workers

    def start(self, activation: Activation, turn: Turn) -> None:
        """A `def` message's turn has come. It starts once the gate is empty and memory is known to be fresh."""
        activation.barrier = True
        if not activation.gate and activation.fresh():
            self._run(activation, turn)
        elif activation.fresh():
            activation.gate.when_open(lambda: self._run(activation, turn))
        else:
            activation.gate.verify(activation.head, lambda: self._run(activation, turn))

    def _run(self, activation: Activation, turn: Turn) -> None:
        if turn.state is TurnState.ABANDONED:
            return
        work = _Handler(activation, turn)
        self._submit(activation, turn, work, lambda outcome: self._handled(activation, turn, work, outcome))

    def commit(self, activation: Activation, entry: Entry) -> None:
        """An async turn with objects to save is at the front of the gate."""
        turn = entry.turn
        assert turn is not None

        def unit() -> UnitOfWork:
            return UnitOfWork(
                turn.instance, entry.changes or {}, turn.saves or (), turn.deletes or (), turn.records or ()
            )

        self._submit(activation, turn, unit, lambda outcome: self._committed(activation, turn, outcome))

    def _submit(
        self, activation: Activation, turn: Turn, run: Callable[[], UnitOfWork], done: Callable[[Any], None]
    ) -> None:
        store = activation.store
        if store is None:
            alive = functools.partial(_may_go_on, turn)
            self._attend(turn, lambda: refusing(alive, run), done)
            return
        barrier = Barrier(
            activation.schema,
            activation.key,
            activation.version,
            turn.before or activation.head,
            run,
            begin_commit=lambda: seal(turn),
            alive=functools.partial(_may_go_on, turn),
            seconds_left=lambda: turn.call.deadline - activation.monotonic(),
        )
        self._attend(turn, lambda: store.transact(barrier), done)

    def _attend(self, turn: Turn, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Run it in a worker, which no longer counts once the turn is abandoned."""
        since = turn.activation.monotonic()
        turn.runner = _Leash(turn, self._workers.submit(job, done), since)

    def _handled(self, activation: Activation, turn: Turn, work: _Handler, outcome: Any) -> None:
        """A `def` turn's transaction has ended."""
        if turn.state is TurnState.ABANDONED:
            return  # the activation went on without it
        activation.running = None
        activation.barrier = False
        turn.before = activation.head
        if type(outcome) is Failed:
            outcome = outcome.error
        if turn.cancelled and not turn.sealed:
            outcome = Cancelled("The caller cancelled the call; its turn was undone.")
        if isinstance(outcome, BaseException):
            activation.fail(turn, outcome)
        elif activation.store is None or type(outcome) is Committed:
            turn.after = activation.head = work.after
            if activation.columns.related:
                activation.columns.forget_related(turn.instance)
            self._keep(activation, turn, outcome)
        else:
            self._refused(activation, turn, outcome)
        activation.gate_opened()

    def _committed(self, activation: Activation, turn: Turn, outcome: Any) -> None:
        """An async turn's transaction has ended."""
        if not activation.gate or turn.state is TurnState.ABANDONED:
            return  # given up meanwhile
        activation.barrier = False
        activation.gate.drop_barrier()
        if type(outcome) is Failed:
            outcome = outcome.error
        if isinstance(outcome, Exception):
            turn.state = TurnState.RUNNING
            activation.head = turn.before
            activation.fail(turn, outcome)
        elif type(outcome) is Committed:
            self._keep(activation, turn, outcome)
        else:
            self._refused(activation, turn, outcome)
        activation.gate.advance()

    def _keep(self, activation: Activation, turn: Turn, outcome: Any) -> None:
        """The transaction is committed. It has seen the row only if it brings it along: one without queries has not."""
        turn.state = TurnState.COMMITTING
        if type(outcome) is Committed and outcome.snapshot is not None:
            activation.committed(outcome, turn.runner.since, last=True)
            turn.after = activation.head
        elif not activation.fresh() and not (turn.deletes or turn.saves):
            activation.gate.hold_unverified(turn, activation.head)
            return
        release(activation, turn)
        if turn.deletes and turn.instance in turn.deletes:
            activation.distrust()

    def _refused(self, activation: Activation, turn: Turn, outcome: Any) -> None:
        if type(outcome) is Unsettled:
            recovery.lose(activation, "The connection broke during the commit.", unsettled=[turn])
            return
        reason = "Somebody else has the row or changed it."
        if type(outcome) is Missing:
            reason = "The row was deleted."
        elif type(outcome) is Down:
            reason = "There was no connection to the database."
            logger.warning("%s: %s", activation.address, outcome.error, extra={"action": "barrier_down"})
        elif type(outcome) is Locked:
            reason = "An open transaction holds its row."
        if type(outcome) in (Lost, Missing) and not turn.suspended:
            # Seen at its first query: it has neither read, written nor asked anything, and runs on what is stored.
            recovery.lose(activation, reason, again=[turn.call])
            return
        kind = Unavailable if type(outcome) is Down else Conflict
        reject(turn, kind(f"The turn was undone: {reason} Nothing of it was stored."))
        recovery.lose(activation, reason)


def _may_go_on(turn: Turn) -> bool:
    """Whether a worker's turn may use the database. Called in its thread."""
    return turn.state is not TurnState.ABANDONED and not turn.cancelled


class _Leash:
    """What `turn.runner` is while a worker has the turn."""

    __slots__ = ("_job", "_turn", "since")

    def __init__(self, turn: Turn, job: Abandonable, since: float) -> None:
        self._turn = turn
        self._job = job
        self.since = since

    def cancel(self) -> None:
        """A thread can't be interrupted: its queries are refused, and if its actor went on, it no longer counts."""
        if self._turn.state is TurnState.ABANDONED:
            self._job.abandon()


class _Handler:
    """A `def` handler as the store's `run`: called in the worker, inside the transaction."""

    def __init__(self, activation: Activation, turn: Turn) -> None:
        self._activation = activation
        self._turn = turn
        self.after: Snapshot = ()

    def __call__(self) -> UnitOfWork:
        return contextvars.copy_context().run(self._run)

    def _run(self) -> UnitOfWork:
        activation, turn = self._activation, self._turn
        if not _may_go_on(turn):  # it was given up while it waited for a thread
            raise Cancelled("The call was given up before it ran.")
        enter(turn)
        result = turn.call.message.function(turn.instance, *turn.call.take_args())
        turn.payload = turn.call.encode(result)
        activation.complete(turn)
        if activation.columns.related:
            activation.columns.adopt_related(turn.instance)
        after = activation.columns.snapshot(turn.instance)
        changes: dict[int, Any] = {}
        if after != activation.head:
            after, changes = activation.changes(turn, after)
        self.after = after
        return UnitOfWork(turn.instance, changes, turn.saves or (), turn.deletes or (), turn.records or ())
