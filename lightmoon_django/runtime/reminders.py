"""Reminders: stored with the turn that sets them, fired by whichever node is awake when they are due.

Each node has one sleeper per database. It claims what is due, and posts it as a call to the actor, wherever that lives.
The turn of that call stores the reminder's next state in its own commit, on the condition that the generation is still
the one that fired. So of two firings one fails and leaves no trace: a reminder may be claimed twice, after a crash or
a pause, but it takes effect once. One that was cancelled or set anew meanwhile has another generation, too.

Prior art: Orleans' reminders, without their partitions: the database deals the work out. Its price is a look per
second and node; a node that stored an earlier due time itself doesn't wait for that look.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor import registry
from lightmoon_django.actor.cadence import EPOCH, check_cron, following, moment
from lightmoon_django.actor.call import Call
from lightmoon_django.actor.reminder import LATEST, Setting
from lightmoon_django.actor.schema import ActorSchema, MessageSchema
from lightmoon_django.actor.turn import Turn
from lightmoon_django.errors import LightMoonError, UsageError
from lightmoon_django.identity import Address
from lightmoon_django.persistence.driver import StoreQueue
from lightmoon_django.persistence.records import (
    DueReminder,
    DueTell,
    Outgoing,
    Record,
    ReminderChange,
    Schedule,
    latest,
)
from lightmoon_django.runtime import overlap
from lightmoon_django.runtime.sleeper import Sleeper

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation
    from lightmoon_django.runtime.node import Node

logger = logging.getLogger("lightmoon")

ROUNDS = 1000  # of firing at one moment, before reminders that set each other without a delay are left alone
GENERATION_BITS = 63


class ReminderCall(Call):
    """A reminder's message on its way. It runs as nobody: `turn.user` and `turn.caller` are None."""

    __slots__ = ("began", "claimed_at", "due", "sleeper")

    finishes = True

    due: DueReminder
    sleeper: Sleeper
    claimed_at: int  # the moment for which it was claimed
    began: bool  # whether its handler has run

    @property
    def creates(self) -> bool:
        return False

    @property
    def generation(self) -> int:
        """The one that it fires."""
        return self.due.schedule.generation

    def take_args(self) -> tuple[Any, ...]:
        self.began = True
        return super().take_args()

    def encode(self, result: Any) -> bytes:
        return b""

    def finish(self, turn: Turn) -> None:
        """Let its next state be stored with the turn: what the handler has set under its name, or what follows."""
        name, expect = self.due.name, self.generation
        records: list[Record] = list(turn.records or ())
        for position, record in enumerate(records):
            if isinstance(record, ReminderChange) and record.name == name:
                records[position] = dataclasses.replace(record, expect=expect)
                break
        else:
            now = max(self.claimed_at, moment(turn.activation.node.clock.now()))
            records.append(ReminderChange(name=name, schedule=continued(self.due.schedule, now), expect=expect))
        turn.records = records

    def leave_to(self, node: int) -> None:
        self.sleeper.left_to(self, node)

    def resolve(self, payload: bytes) -> None:
        self.sleeper.fired(self)

    def reject(self, error: LightMoonError) -> None:
        self.sleeper.failed(self, error)


def continued(schedule: Schedule, now: int) -> Schedule | None:
    """What follows once that one has fired or was given up. None: it is over."""
    if not schedule.period and not schedule.cron:
        return None
    after = schedule.due_at if schedule.catch_up == "all" else now
    due_at = following(schedule.due_at, after, period=schedule.period, cron=schedule.cron)
    return dataclasses.replace(schedule, due_at=due_at, generation=_generation())


def missed(schedule: Schedule, now: int) -> bool:
    """Whether it is so late that it isn't to be fired any more."""
    if schedule.catch_up != "skip" or not (schedule.period or schedule.cron):
        return False
    return now >= following(schedule.due_at, schedule.due_at, period=schedule.period, cron=schedule.cron)


class Reminders:
    """The reminders of one node's actors. Methods run on the node's loop unless they say otherwise."""

    def __init__(self, node: Node, deliver_tell: Callable[[DueTell, StoreQueue], None]) -> None:
        """`deliver_tell` sends a durable tell that is due again; tells and reminders are claimed together."""
        self._node = node
        self._deliver_tell = deliver_tell
        self._sleepers: dict[StoreQueue, Sleeper] = {}

    def start(self) -> None:
        """From now on, fire whatever comes due in the databases of this project's actors."""
        for sleeper in self._of(_persistent()):
            sleeper.start()

    async def stop(self) -> None:
        """Claim nothing more."""
        for sleeper in self._sleepers.values():
            await sleeper.stop()

    async def give_back(self) -> None:
        """The node ends: what is still under way may be claimed by others at once."""
        for sleeper in self._sleepers.values():
            await sleeper.give_back()

    async def fire_due(self, now: datetime.datetime | None = None) -> int:
        """Fire what is due by then (by now), and wait for it. For tests, whose nodes don't look by themselves.

        Goes on until nothing more is due, as a handler may set the next one. Only databases that this node has used are
        asked; one that is away is passed over. Returns how many calls were made.
        """
        due_by = moment(now if now is not None else self._node.clock.now())
        total = 0
        for _ in range(ROUNDS):
            fired = sum([await sleeper.fire(due_by) for sleeper in self._of(self._node.schemas())])
            total += fired
            if not fired:
                return total
        logger.error("Reminders set each other without end.", extra={"action": "reminders_endless"})
        return total

    async def next_due(self) -> datetime.datetime | None:
        """When the earliest one is due in the databases that this node has used. None: nothing is, or none answers."""
        due = [await sleeper.next_due() for sleeper in self._of(self._node.schemas())]
        first = min((one for one in due if one is not None), default=None)
        return None if first is None else EPOCH + datetime.timedelta(microseconds=first)

    def register(self, turn: Turn, setting: Setting) -> None:
        """Let a turn of the reminder's own actor store it. May be called in a worker thread."""
        if turn.call.message.options.read_only:
            raise UsageError(f"{turn.call.message.wire_name} is read_only, and to set a reminder is to write.")
        schedule = self._schedule(setting) if setting.message else None
        if setting.due_at is None or not self._fires_for(turn, setting.name, setting.due_at):
            change = ReminderChange(name=setting.name, schedule=schedule)
            turn.records = latest([*(turn.records or ()), change])

    def noted(self, activation: Activation, records: Iterable[Record]) -> None:
        """A turn has stored these: look as soon as one is due. What is about to fire and has been changed doesn't."""
        sleeper = self._sleepers.get(activation.store) if activation.store is not None else None
        for record in records:
            if isinstance(record, ReminderChange):
                _drop_outdated(activation, record)
            if sleeper is None:
                continue
            if isinstance(record, ReminderChange) and record.schedule is not None:
                sleeper.wake_by(record.schedule.due_at)
            elif isinstance(record, Outgoing):
                sleeper.wake_by(record.wake_at)

    def deliver(self, sleeper: Sleeper, due: DueReminder | DueTell, now: int) -> None:
        """Send what a sleeper has claimed. Each reminder comes back through its `fired`, `failed` or `bury`."""
        if isinstance(due, DueTell):
            self._deliver_tell(due, sleeper.queue)
            return
        if due.attempts > self._node.settings.DEAD_LETTER_ATTEMPTS:
            sleeper.bury(due, f"It was tried {due.attempts - 1} times, and none of them came to an end.")
            return
        schema = registry.by_name(due.actor)
        message = schema.messages.get(due.schedule.message) if schema is not None else None
        if schema is None or message is None:  # perhaps another version of the project, that is being rolled out
            sleeper.retry(due, f"This process knows no message {due.actor}.{due.schedule.message}.")
            return
        self._post(sleeper, due, schema.system[registry.PASS] if missed(due.schedule, now) else message, now)

    def after(self, due: DueReminder, now: int) -> int | None:
        """When a reminder is due next whose firing was given up. None: never."""
        then = continued(due.schedule, now)
        return None if then is None else then.due_at

    def look(self) -> None:
        """Claim what is due now: another node has found that its actor is here."""
        for sleeper in self._sleepers.values():
            sleeper.wake_by(0)

    def holds_back(self, actor: str, key: str) -> bool:
        """Whether an operator has paused that actor, as far as this node knows."""
        return any((actor, key) in sleeper.paused for sleeper in tuple(self._sleepers.values()))

    def timeout(self, message: MessageSchema) -> float:
        """The deadline of a reminder's call, in seconds."""
        return message.timeout or self._node.settings.CALL_TIMEOUT

    def claim_for(self) -> float:
        """How many seconds a call may take at most."""
        timeouts = [self.timeout(message) for schema in _persistent() for message in schema.messages.values()]
        return max(timeouts, default=self._node.settings.CALL_TIMEOUT)

    def remember(self, due: DueReminder) -> None:
        """It has fired for that time: to set it to the same time again does nothing."""
        activation = self._node.find(Address(due.actor, due.key))
        if activation is not None:
            activation.fired = {**(activation.fired or {}), due.name: due.schedule.due_at}

    def _post(self, sleeper: Sleeper, due: DueReminder, message: MessageSchema, now: int) -> None:
        payload = due.schedule.payload if message.name != registry.PASS else b"\x90"  # no arguments
        deadline = self._node.clock.monotonic() + self.timeout(message)
        call = ReminderCall(message, due.key, None, payload, deadline)
        call.due, call.sleeper, call.claimed_at, call.began = due, sleeper, now, False
        self._node.post(call)

    def _schedule(self, setting: Setting) -> Schedule:
        now = moment(self._node.clock.now())
        if setting.due_at is not None:
            due_at = setting.due_at
        elif setting.cron:
            due_at = check_cron(setting.cron, now)
        else:
            due_at = min(now + setting.delay, LATEST)
        return Schedule(
            generation=_generation(),
            message=setting.message,
            payload=setting.payload,
            due_at=due_at,
            period=setting.period,
            cron=setting.cron,
            catch_up=setting.catch_up,
        )

    @staticmethod
    def _fires_for(turn: Turn, name: str, due_at: int) -> bool:
        """Whether the reminder has fired for that time already, or is about to and nobody has changed it since."""
        activation: Activation = turn.activation

        def fires(call: Call) -> bool:
            return isinstance(call, ReminderCall) and (call.due.name, call.due.schedule.due_at) == (name, due_at)

        if (activation.fired or {}).get(name) == due_at:
            return True
        for other in (*overlap.under_way(activation), *reversed(activation.gate.turns())):  # the latest first
            if fires(other.call) and other.error is None:
                return True
            if any(isinstance(record, ReminderChange) and record.name == name for record in other.records or ()):
                return False
        return any(map(fires, tuple(activation.mailbox)))

    def _of(self, schemas: Iterable[ActorSchema]) -> list[Sleeper]:
        """One for each database that keeps those actors."""
        for schema in schemas:
            queue = self._node.store_of(schema)
            if queue is not None and queue not in self._sleepers:
                self._sleepers[queue] = Sleeper(self._node, self, queue)
        return list(self._sleepers.values())


def _drop_outdated(activation: Activation, change: ReminderChange) -> None:
    """A firing that waits for its turn was claimed before the change: it could leave no trace."""
    generation = change.schedule.generation if change.schedule is not None else None
    for call in tuple(activation.mailbox):
        if isinstance(call, ReminderCall) and call.due.name == change.name and call.generation != generation:
            activation.mailbox.remove(call)
            call.sleeper.outdated(call)
            activation.schedule()  # what is next may have waited for it


def _persistent() -> list[ActorSchema]:
    """The schemas of all actors that have rows. A wrong declaration is reported by `manage.py check`, not here."""
    found = []
    for cls in registry.registered():
        with contextlib.suppress(TypeError, UsageError):
            schema = registry.schema_of(cls)
            if schema.persistent:
                found.append(schema)
    return found


def _generation() -> int:
    """63 random bits: told apart from all others of the same reminder, on whichever node they were made."""
    return secrets.randbits(GENERATION_BITS)
