"""Reminders and durable tells on their way: who takes which, when it is tried again, and where it ends.

A claim moves `wake_at` to the claim's end, so that one index tells both what is due and what a dead node left behind.
Whatever is done with a claimed row afterwards names the generation and the attempt that it was claimed with.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Exists, F, OuterRef, QuerySet

from lightmoon_django.identity import new_incarnation
from lightmoon_django.models import DeadLetter, Outgoing, Pause, Reminder
from lightmoon_django.persistence.batch import SCHEDULE
from lightmoon_django.persistence.recorder import CHUNK, portions
from lightmoon_django.persistence.records import Due, DueReminder, DueTell, Schedule
from lightmoon_django.persistence.records import Outgoing as Tell

ERROR_LENGTH = 10_000  # characters of an error that are kept


class Deliveries:
    """The tables of one database. Nothing here begins or ends a transaction."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.unhosted: Collection[str] = ()  # wire names of classes whose reminders are for other nodes

    def due(self, now: int, until: int, limit: int) -> list[Due]:
        """Claim the earliest ones until then, passing over those that somebody has locked."""
        found = [*self._waiting(Reminder, now, limit), *self._waiting(Outgoing, now, limit)]
        found = sorted(found, key=lambda row: row.wake_at)[:limit]
        for model in (Reminder, Outgoing):
            for some in portions([row.pk for row in found if type(row) is model], CHUNK):
                self._all(model).filter(pk__in=some).update(wake_at=until, attempts=F("attempts") + 1)
        return [_reminder(row) if type(row) is Reminder else _tell(row) for row in found]

    def next_due(self) -> int | None:
        earliest = [self._wanted(model).order_by("wake_at") for model in (Reminder, Outgoing)]
        times = [rows.values_list("wake_at", flat=True).first() for rows in earliest]
        return min((time for time in times if time is not None), default=None)

    def postpone(self, due: Due, wake_at: int, error: str, counts: bool) -> None:
        attempts = due.attempts if counts else due.attempts - 1
        self._claimed(due).update(wake_at=wake_at, attempts=attempts, last_error=storable(error))

    def delivered(self, ids: Sequence[bytes]) -> None:
        for some in portions(sorted(ids), CHUNK):
            _delete(self._all(Outgoing).filter(pk__in=[UUID(bytes=id) for id in some]))

    def bury(self, due: Due, error: str, then: int | None, now: int) -> None:
        """A reminder that goes on gets a new generation: a firing of it that is still under way has become stale."""
        row = self._claimed(due)
        if then is None or isinstance(due, DueTell):
            ours = _delete(row)
        else:
            ours = row.update(generation=new_incarnation(), due_at=then, wake_at=then, attempts=0, last_error="")
        if ours:
            letter(due, error, now).save(using=self._alias, force_insert=True)

    def paused(self) -> set[tuple[str, str]]:
        return set(self._all(Pause).values_list("actor", "key"))

    def _waiting(self, model: type[Any], now: int, limit: int) -> list[Any]:
        features = connections[self._alias].features
        rows = self._wanted(model).filter(wake_at__lte=now).order_by("wake_at")
        locked = rows.select_for_update(
            skip_locked=features.has_select_for_update_skip_locked, no_key=features.has_select_for_no_key_update
        )
        return list(locked[:limit])

    def _claimed(self, due: Due) -> QuerySet[Any]:
        """The row, if it is as it was claimed."""
        if isinstance(due, DueTell):
            return self._all(Outgoing).filter(pk=UUID(bytes=due.tell.id), attempts=due.attempts)
        return self._all(Reminder).filter(
            actor=due.actor,
            key=due.key,
            name=due.name,
            generation=due.schedule.generation,
            attempts=due.attempts,
        )

    def _wanted(self, model: type[Any]) -> QuerySet[Any]:
        """Without what is for paused actors, nor reminders of those that can't live here.

        Tells find their way from anywhere.
        """
        pauses = self._all(Pause).filter(actor=OuterRef("actor"), key=OuterRef("key"))
        rows = self._all(model).filter(~Exists(pauses))
        return rows.exclude(actor__in=self.unhosted) if self.unhosted and model is Reminder else rows

    def _all(self, model: type[Any]) -> QuerySet[Any]:
        return model._base_manager.using(self._alias)  # type: ignore[no-any-return]


def letter(due: Due, error: str, now: int) -> DeadLetter:
    """What is kept of one that failed too often. Not stored yet."""
    rest: dict[str, Any] = {"error": storable(error), "attempts": due.attempts, "buried_at": now}
    if isinstance(due, DueTell):
        tell = due.tell
        rest.update(message=tell.message, payload=tell.payload, caller=tell.caller, user=tell.user)
        return DeadLetter(what="tell", actor=tell.actor, key=tell.key, **rest)
    schedule = due.schedule
    rest.update(name=due.name, message=schedule.message, payload=schedule.payload, user=schedule.user)
    return DeadLetter(what="reminder", actor=due.actor, key=due.key, **rest)


def storable(text: str) -> str:
    """The text as every engine takes it. An error that could not be stored would never be got rid of."""
    return text[:ERROR_LENGTH].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _reminder(row: Reminder) -> DueReminder:
    cells = {name: getattr(row, name) for name in SCHEDULE}
    schedule = Schedule(**{**cells, "payload": bytes(row.payload)})
    return DueReminder(actor=row.actor, key=row.key, name=row.name, schedule=schedule, attempts=row.attempts + 1)


def _tell(row: Outgoing) -> DueTell:
    tell = Tell(
        id=row.id.bytes,
        actor=row.actor,
        key=row.key,
        message=row.message,
        payload=bytes(row.payload),
        caller=row.caller,
        user=row.user,
        wake_at=row.wake_at,
    )
    return DueTell(tell=tell, attempts=row.attempts + 1, error=row.last_error)


def _delete(rows: QuerySet[Any]) -> int:
    """How many went. Without collecting what might depend on them: nothing does."""
    return rows._raw_delete(rows.db)
