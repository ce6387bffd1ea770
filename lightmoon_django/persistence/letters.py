"""Pauses and dead letters of one database, as operators see them."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import transaction

from lightmoon_django.identity import new_incarnation
from lightmoon_django.models import DeadLetter, Outgoing, Pause, Reminder
from lightmoon_django.persistence.wallclock import system_clock

NAME_LENGTH = 200  # characters of a reminder's name


class Letters:
    """Each method is a transaction of its own, or a part of the caller's."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def pause(self, actor: str, key: str, reason: str) -> None:
        first = {"reason": reason, "since": system_clock()}
        self._all(Pause).update_or_create(actor=actor, key=key, defaults={"reason": reason}, create_defaults=first)

    def resume(self, actor: str, key: str) -> None:
        self._all(Pause).filter(actor=actor, key=key).delete()

    def is_paused(self, actor: str, key: str) -> bool:
        return bool(self._all(Pause).filter(actor=actor, key=key).exists())

    def find(self, **address: str) -> list[DeadLetter]:
        """The letters to one actor, or all of them; the oldest first."""
        return list(self._all(DeadLetter).filter(**address).order_by("buried_at", "pk"))

    def skip(self, letter: DeadLetter) -> bool:
        """Delete it. False: somebody else has replayed or skipped it."""
        return bool(self._all(DeadLetter).filter(pk=letter.pk).delete()[0])

    def replay(self, letter: DeadLetter) -> bool:
        """Put back what it holds, due now. False: somebody else has replayed or skipped it."""
        with transaction.atomic(using=self._alias):
            if not self.skip(letter):
                return False
            if letter.what == "tell":
                self._tell(letter)
            else:
                self._remind(letter)
        return True

    def _tell(self, letter: DeadLetter) -> None:
        self._all(Outgoing).create(
            id=uuid.uuid4(),
            actor=letter.actor,
            key=letter.key,
            message=letter.message,
            payload=letter.payload,
            caller=letter.caller,
            user=letter.user,
            wake_at=system_clock(),
        )

    def _remind(self, letter: DeadLetter) -> None:
        now = system_clock()
        self._all(Reminder).create(
            actor=letter.actor,
            key=letter.key,
            name=self._free_name(letter),
            generation=new_incarnation(),
            message=letter.message,
            payload=letter.payload,
            due_at=now,
            user=letter.user,
            wake_at=now,
        )

    def _free_name(self, letter: DeadLetter) -> str:
        """Its own, unless the reminder goes on or has been set again: that one is not to be replaced."""
        if not self._all(Reminder).filter(actor=letter.actor, key=letter.key, name=letter.name).exists():
            return letter.name
        suffix = f" (replayed {letter.pk})"
        return letter.name[: NAME_LENGTH - len(suffix)] + suffix

    def _all(self, model: type[Any]) -> Any:
        return model._base_manager.using(self._alias)
