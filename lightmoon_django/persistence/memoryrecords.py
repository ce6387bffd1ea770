"""Reminders, answers and durable tells in memory, kept as the tables keep them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from lightmoon_django.identity import new_incarnation
from lightmoon_django.models import DeadLetter
from lightmoon_django.persistence.deliveries import letter, storable
from lightmoon_django.persistence.records import (
    Answer,
    Due,
    DueReminder,
    DueTell,
    Outgoing,
    Record,
    ReminderChange,
)

Place = tuple[str, str, str] | bytes  # actor, key and name of a reminder; id of a tell


@dataclasses.dataclass(slots=True)
class Waiting:
    """A reminder or tell as its next claim would hand it out, but for that claim's own attempt."""

    due: Due
    wake_at: int
    last_error: str = ""


class MemoryRecords:
    """What one `Memory` keeps beside its rows. Whoever calls holds the memory's lock."""

    def __init__(self) -> None:
        self.waiting: dict[Place, Waiting] = {}
        self.answers: dict[bytes, Answer] = {}
        self.letters: list[DeadLetter] = []
        self.paused: set[tuple[str, str]] = set()

    def is_stale(self, actor: str, key: str, records: Sequence[Record]) -> bool:
        """Whether one of the records expects another generation than there is."""
        return any(
            isinstance(record, ReminderChange)
            and record.expect is not None
            and record.expect != self._generation((actor, key, record.name))
            for record in records
        )

    def keep(self, actor: str, key: str, records: Sequence[Record], now: int) -> None:
        for record in records:
            match record:
                case Answer():
                    if self.answer(record.id, now) is None:
                        self.answers[record.id] = record
                case Outgoing():
                    tell = DueTell(tell=record, attempts=0)
                    self.waiting.setdefault(record.id, Waiting(tell, record.wake_at))
                case ReminderChange():
                    self._change(actor, key, record)

    def answer(self, id: bytes, now: int) -> Answer | None:
        found = self.answers.get(id)
        return found if found is not None and found.expires_at > now else None

    def due(self, now: int, until: int, limit: int) -> list[Due]:
        found = [one for one in self._wanted() if one.wake_at <= now]
        found = sorted(found, key=lambda one: one.wake_at)[:limit]
        for one in found:
            one.due = dataclasses.replace(one.due, attempts=one.due.attempts + 1)
            one.wake_at = until
        return [one.due for one in found]

    def next_due(self) -> int | None:
        return min((one.wake_at for one in self._wanted()), default=None)

    def postpone(self, due: Due, wake_at: int, error: str, counts: bool) -> None:
        one = self._claimed(due)
        if one is not None:
            one.due = dataclasses.replace(due, attempts=due.attempts if counts else due.attempts - 1)
            one.wake_at, one.last_error = wake_at, storable(error)
            if isinstance(one.due, DueTell):
                one.due = dataclasses.replace(one.due, error=one.last_error)

    def delivered(self, ids: Sequence[bytes]) -> None:
        for id in ids:
            self.waiting.pop(id, None)

    def bury(self, due: Due, error: str, then: int | None, now: int) -> None:
        one = self._claimed(due)
        if one is None:
            return
        if then is None or isinstance(due, DueTell):
            del self.waiting[_place(due)]
        else:
            schedule = dataclasses.replace(due.schedule, generation=new_incarnation(), due_at=then)
            one.due = dataclasses.replace(due, schedule=schedule, attempts=0)
            one.wake_at, one.last_error = then, ""
        self.letters.append(letter(due, error, now))

    def clean(self, now: int, limit: int) -> int:
        expired = sorted((one.expires_at, one.id) for one in self.answers.values() if one.expires_at <= now)[:limit]
        for _, id in expired:
            del self.answers[id]
        return len(expired)

    def _wanted(self) -> list[Waiting]:
        """Without what is for paused actors."""
        return [one for one in self.waiting.values() if _receiver(one.due) not in self.paused]

    def _generation(self, place: Place) -> int | None:
        one = self.waiting.get(place)
        return one.due.schedule.generation if one is not None and isinstance(one.due, DueReminder) else None

    def _change(self, actor: str, key: str, change: ReminderChange) -> None:
        place = (actor, key, change.name)
        if change.schedule is None:
            self.waiting.pop(place, None)
            return
        due = DueReminder(actor=actor, key=key, name=change.name, schedule=change.schedule, attempts=0)
        self.waiting[place] = Waiting(due, change.schedule.due_at)

    def _claimed(self, due: Due) -> Waiting | None:
        """It, if it is as it was claimed."""
        one = self.waiting.get(_place(due))
        if one is None or one.due.attempts != due.attempts:
            return None
        return one if isinstance(due, DueTell) or self._generation(_place(due)) == due.schedule.generation else None


def _receiver(due: Due) -> tuple[str, str]:
    return (due.tell.actor, due.tell.key) if isinstance(due, DueTell) else (due.actor, due.key)


def _place(due: Due) -> Place:
    return due.tell.id if isinstance(due, DueTell) else (due.actor, due.key, due.name)
