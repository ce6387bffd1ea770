"""Durable tells: stored with the turn that sends them, sent when it is durable, and again until they arrive.

A `.tell()` of a `once` message from a turn becomes a row in that turn's commit. It is processed once, because its id is
its call id too. The row goes when the receiver's turn is durable, or has refused it for good.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor import registry
from lightmoon_django.actor.cadence import moment
from lightmoon_django.actor.call import Call, Tell
from lightmoon_django.actor.repeat import SIZE, Identity, fingerprint
from lightmoon_django.actor.turn import Turn
from lightmoon_django.errors import InternalError, InvalidParams, LightMoonError, MethodNotFound, OutcomeUnknown
from lightmoon_django.persistence.driver import StoreQueue
from lightmoon_django.persistence.records import DueTell, Outgoing
from lightmoon_django.runtime.failure import for_operators

if TYPE_CHECKING:
    from lightmoon_django.runtime.node import Node

logger = logging.getLogger("lightmoon")

FIRST_RETRY = datetime.timedelta(seconds=10)  # past the call's deadline; by then its first sending has come to an end
BACK_OFF = datetime.timedelta(seconds=1)  # until the second retry, doubling
LONGEST_BACK_OFF = datetime.timedelta(seconds=60)

# No word of the receiver's: it failed, or its process perhaps runs another version of the project.
_UNHEARD = (InternalError, OutcomeUnknown, MethodNotFound, InvalidParams)


class DurableTell(Tell):
    """A tell with a row of its own in the sender's database."""

    __slots__ = ("due", "home", "now")

    now: Callable[[], datetime.datetime]
    home: StoreQueue
    due: DueTell | None  # None: its first sending

    def resolve(self, payload: bytes) -> None:
        _delivered(self)

    def reject(self, error: LightMoonError) -> None:
        super().reject(error)
        if not error.retryable and not isinstance(error, _UNHEARD):
            _delivered(self)  # the receiver has said no
        elif self.due is not None:
            _retry(self.home, self.due, for_operators(error), self.now())


class OutgoingTells:
    """The durable tells of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def store(self, turn: Turn, call: Call) -> DurableTell | None:
        """Let a tell be stored with the turn that sends it.

        Returns what is sent when the turn is durable. None: its receiver is paused, and a sleeper sends it after that.
        """
        node = self._node
        held = node.reminders.holds_back(call.schema.name, call.key)
        left = datetime.timedelta(seconds=call.deadline - node.clock.monotonic())
        record = Outgoing(
            id=secrets.token_bytes(SIZE),
            actor=call.schema.name,
            key=call.key,
            message=call.message.name,
            payload=call.payload,
            caller=str(turn.call.address),
            wake_at=moment(node.clock.now() if held else node.clock.now() + left + FIRST_RETRY),
        )
        turn.records = [*(turn.records or ()), record]
        return None if held else self._tell(record, call, turn.activation.store, None)

    def deliver(self, due: DueTell, home: StoreQueue) -> None:
        """Send a stored tell again. `home` is the store that it came from."""
        tell, node = due.tell, self._node
        if node.reminders.holds_back(tell.actor, tell.key):  # in another database than the sender's
            wake_at = moment(node.clock.now() + BACK_OFF)
            home.query(lambda store: store.postpone(due, wake_at, "", counts=False), _noted)
            return
        if due.attempts > node.settings.DEAD_LETTER_ATTEMPTS:
            _bury(home, due, due.error or "It was sent too often, and nothing was heard of it.")
            return
        schema = registry.by_name(tell.actor)
        message = schema.messages.get(tell.message) if schema is not None else None
        if message is None:
            _retry(home, due, f"This process knows no message {tell.actor}.{tell.message}.", node.clock.now())
            return
        deadline = node.clock.monotonic() + (message.timeout or node.settings.CALL_TIMEOUT)
        call = Tell(message, tell.key, None, tell.payload, deadline, caller=tell.caller)
        node.post(self._tell(tell, call, home, due))

    def _tell(self, record: Outgoing, call: Call, home: StoreQueue, due: DueTell | None) -> DurableTell:
        durable = DurableTell(
            call.message, call.key, call.args, call.payload, call.deadline, caller=call.caller, user=call.user
        )
        durable.home, durable.due, durable.now = home, due, self._node.clock.now
        durable.identity = Identity(record.id, fingerprint(call.message.wire_name, call.payload))
        return durable


def _delivered(tell: DurableTell) -> None:
    assert tell.identity is not None
    id = tell.identity.id
    tell.home.query(lambda store: store.delivered([id]), _noted)


def _retry(home: StoreQueue, due: DueTell, error: str, now: datetime.datetime) -> None:
    wake_at = moment(now + min(BACK_OFF * 2 ** (due.attempts - 1), LONGEST_BACK_OFF))
    home.query(lambda store: store.postpone(due, wake_at, error), _noted)


def _bury(home: StoreQueue, due: DueTell, error: str) -> None:
    tell = due.tell
    logger.error(
        "The tell of %s to %s:%s is a dead letter: %s",
        tell.message,
        tell.actor,
        tell.key,
        error,
        extra={"action": "dead_letter", "actor": f"{tell.actor}:{tell.key}"},
    )
    home.query(lambda store: store.bury(due, error, None), _noted)


def _noted(outcome: Any) -> None:
    if isinstance(outcome, Exception):  # it is sent once more, and not processed again
        logger.warning("A delivery could not be noted: %s", outcome, extra={"action": "delivery_not_noted"})
