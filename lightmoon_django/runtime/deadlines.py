"""Every ask ends: one sweep of the busy activations answers what has reached its deadline.

There is no timer per call. The sweep visits only activations with something under way, runs while there are any, and
is hastened by a call whose deadline comes before the next one.
"""

from __future__ import annotations

import logging

from lightmoon_django.actor.turn import Turn, abandon
from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from lightmoon_django.runtime import overlap, recovery
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.release import reject
from lightmoon_django.runtime.states import ActivationState

logger = logging.getLogger("lightmoon")

PERIOD = 0.25  # seconds between sweeps


class Deadlines:
    """The sweep of one node."""

    def __init__(self, clock: Clock, activate_timeout: float) -> None:
        self._clock = clock
        self._activate_timeout = activate_timeout
        self._busy: set[Activation] = set()
        self._next = float("inf")  # when the next sweep is due; never while nothing is busy
        self._handle: Cancellable | None = None

    def watch(self, activation: Activation, deadline: float) -> None:
        """A call has been queued for that activation."""
        self._busy.add(activation)
        if deadline < self._next:
            self._plan(min(deadline, self._clock.monotonic() + PERIOD))

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _plan(self, when: float) -> None:
        if when >= self._next:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._next = when
        self._handle = self._clock.call_at(when, self._sweep)

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        self._next, self._handle = float("inf"), None
        nearest = now + PERIOD
        for activation in list(self._busy):
            if activation.quiet or activation.state is ActivationState.ENDED:
                self._busy.discard(activation)
                continue
            try:
                nearest = min(nearest, self._check(activation, now))
            except Exception:  # a defect of ours: everybody else's deadlines go on
                logger.exception("A deadline could not be kept.", extra={"action": "deadline_defect"})
        if self._busy:
            self._plan(max(nearest, now + 0.001))

    def _check(self, activation: Activation, now: float) -> float:
        """Answer what is due; return the next deadline among the rest."""
        if activation.state is ActivationState.LOADING and now >= activation.opened_at + self._activate_timeout:
            error = Unavailable(f"{activation.address} could not be loaded within {self._activate_timeout:g} s.")
            activation.node.catalog.overdue(activation, error)
            return now + PERIOD
        expired = [call for call in activation.mailbox if call.deadline <= now]
        for call in expired:
            activation.mailbox.remove(call)
            activation.refuse(call, DeadlineExceeded("The deadline passed while the call was queued. It did not run."))
        if expired:
            activation.schedule()  # what is next may have waited for them
        for turn in activation.gate.turns():
            if turn.call.deadline <= now:
                self._unstored(activation, turn)
        for turn in tuple(overlap.under_way(activation)):
            if turn.call.deadline <= now and turn.running:
                self._stuck(activation, turn)
        for call in activation.reentering or ():
            if call.deadline <= now:
                overlap.forget(activation, call)
                activation.refuse(call, DeadlineExceeded("The deadline passed before the call could come back."))
        if activation.repeats is not None:
            activation.repeats.expire(now)
        return min([call.deadline for call in activation.mailbox], default=now + PERIOD)

    def _unstored(self, activation: Activation, turn: Turn) -> None:
        """A finished turn is not durable at its deadline. If a worker hasn't begun its commit yet, it never does."""
        if turn.runner is None or not abandon(turn):
            reject(turn, OutcomeUnknown("The deadline passed while the turn was being stored."))
            return
        turn.runner.cancel()
        error = f"{turn.call.message.wire_name} was not saved by its deadline. Its turn was undone and can't commit."
        reject(turn, DeadlineExceeded(error))
        recovery.lose(activation, "The save() of an earlier turn did not come back.")

    def _stuck(self, activation: Activation, turn: Turn) -> None:
        """A turn still runs at its deadline: it loses its actor, which goes on from what is stored."""
        error = DeadlineExceeded(
            f"{turn.call.message.wire_name} did not finish by its deadline. Its turn was undone and can't commit."
        )
        if activation.readers and turn in activation.readers:
            recovery.give_up_reader(activation, turn, error)
            activation.distrust()
        elif recovery.give_up_running(activation, error):
            activation.distrust()
        else:
            reject(turn, OutcomeUnknown("The deadline passed while the turn was being stored."))
