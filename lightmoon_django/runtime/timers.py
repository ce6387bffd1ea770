"""Timers: methods that tick as turns of their own while an actor is active.

Each activation of a class with timers has its own grid, which begins when it becomes active: the n-th tick is due at
start + n · period, however late or slow the ones before were. A tick waits in the mailbox like any message, so that it
overlaps nothing and starves nobody; it doesn't count towards the mailbox's limit, as there is at most one of a timer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lightmoon_django.actor.call import Tell
from lightmoon_django.actor.schema import TimerSchema
from lightmoon_django.clock import Cancellable
from lightmoon_django.errors import LightMoonError
from lightmoon_django.runtime import overlap

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation

logger = logging.getLogger("lightmoon")


class Tick(Tell):
    """One turn of a timer."""

    __slots__ = ()

    def decode(self) -> tuple[()]:
        return ()

    def reject(self, error: LightMoonError) -> None:
        logger.warning(
            "A tick of %s of %s failed: %s",
            self.message.name,
            self.address,
            error,
            extra={"action": "tick_failed", "actor": str(self.address), "code": error.code},
        )


class Timer:
    """One timer of one activation."""

    __slots__ = ("_activation", "_alarm", "_number", "_schema", "_start", "_tick")

    def __init__(self, activation: Activation, schema: TimerSchema) -> None:
        self._activation = activation
        self._schema = schema
        self._start = activation.monotonic()
        self._number = 1  # of the next tick
        self._tick: Tick | None = None  # the latest one
        self._alarm: Cancellable
        self._arm()

    @property
    def waits(self) -> bool:
        """Whether a tick is in the mailbox."""
        return self._tick is not None and self._tick in self._activation.mailbox

    def stop(self) -> None:
        self._alarm.cancel()

    def _due(self) -> float:
        return self._start + self._number * self._schema.period

    def _arm(self) -> None:
        self._alarm = self._activation.node.clock.call_at(self._due(), self._ring)

    def _ring(self) -> None:
        activation, now = self._activation, self._activation.monotonic()
        self._number += 1
        if now >= self._due():  # the loop was busy elsewhere: what was missed is left out
            self._number += int((now - self._due()) / self._schema.period) + 1
        self._arm()
        if activation.takes_ticks and not self._under_way():
            deadline = now + activation.node.settings.CALL_TIMEOUT
            self._tick = Tick(self._schema.message, activation.key, (), b"", deadline)
            activation.mailbox.append(self._tick)
            activation.node.deadlines.watch(activation, deadline)
            activation.schedule()

    def _under_way(self) -> bool:
        tick = self._tick
        if tick is None:
            return False
        running = self._activation.running
        if running is None and not self._activation.mailbox:  # nearly always, so it comes first
            return False
        return self.waits or any(turn.call is tick for turn in overlap.under_way(self._activation))


class Timers:
    """The timers of one activation, all of them running."""

    __slots__ = ("_activation", "_timers")

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._timers = [Timer(activation, schema) for schema in activation.schema.timers.values()]

    @property
    def waiting(self) -> int:
        """How many ticks are in the mailbox."""
        return sum(timer.waits for timer in self._timers)

    def stop(self) -> None:
        """No tick starts after this."""
        for timer in self._timers:
            timer.stop()
        mailbox = self._activation.mailbox
        mailbox[:] = [call for call in mailbox if type(call) is not Tick]


def start(activation: Activation) -> None:
    """The activation has become active."""
    if activation.schema.timers and activation.node.ticking:
        activation.timers = Timers(activation)
