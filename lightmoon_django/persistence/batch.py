"""The records of a group of writes, sorted by what has to be done with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lightmoon_django.persistence.records import Answer, Outgoing, Record, ReminderChange, Schedule, StaleReminder

Row = tuple[Any, ...]

REMINDER_KEY = ("actor", "key", "name")
SCHEDULE = ("generation", "message", "payload", "due_at", "period", "cron", "catch_up", "user")
DELIVERY = ("wake_at", "attempts", "last_error")
REMINDER = (*REMINDER_KEY, *SCHEDULE, *DELIVERY)
ANSWER = ("id", "fingerprint", "payload", "expires_at")
OUTGOING = ("id", "actor", "key", "message", "payload", "caller", "user", *DELIVERY)


class Batch:
    """Rows in the order of the columns above. Ids are their 16 bytes."""

    def __init__(self, records: Iterable[tuple[str, str, Record]]) -> None:
        """`records` come with wire name and key of the actor that wrote them."""
        self.settings: list[Row] = []  # whole reminders
        self.removals: list[Row] = []  # keys of reminders
        self.moves: list[Row] = []  # whole reminders, and the generation that each replaces
        self.ends: list[Row] = []  # keys of reminders, and the generation that each must have
        self.answers: dict[bytes, Row] = {}
        self.tells: dict[bytes, Row] = {}
        for actor, key, record in records:
            self._add(actor, key, record)

    def _add(self, actor: str, key: str, record: Record) -> None:
        match record:
            case Answer():
                self.answers.setdefault(record.id, (record.id, record.fingerprint, record.payload, record.expires_at))
            case Outgoing():
                self.tells.setdefault(record.id, _tell(record))
            case ReminderChange():
                self._add_change((actor, key, record.name), record)

    def _add_change(self, key: Row, change: ReminderChange) -> None:
        if change.schedule is None:
            if change.expect is None:
                self.removals.append(key)
            else:
                self.ends.append((*key, change.expect))
        elif change.expect is None:
            self.settings.append((*key, *schedule_cells(change.schedule)))
        else:
            self.moves.append((*key, *schedule_cells(change.schedule), change.expect))


def schedule_cells(schedule: Schedule) -> Row:
    """The columns of a reminder that is set now, beside its key."""
    return (*(getattr(schedule, name) for name in SCHEDULE), schedule.due_at, 0, "")


def all_met(found: int, expected: int) -> None:
    """Raise `StaleReminder` unless every generation that was expected was there."""
    if found != expected:
        raise StaleReminder(f"{expected - found} of {expected} reminders had been changed meanwhile.")


def _tell(tell: Outgoing) -> Row:
    return (tell.id, tell.actor, tell.key, tell.message, tell.payload, tell.caller, tell.user, tell.wake_at, 0, "")
