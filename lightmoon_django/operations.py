"""What operators do with actors, from a shell, a command or an admin action: pause them, look after dead letters.

All functions are synchronous and reach the actor's own database, not its node. A node heeds a pause when it next looks.
"""

from __future__ import annotations

from typing import Any, cast

from django.db import router
from django.db.models import Model

from lightmoon_django.actor import registry
from lightmoon_django.errors import UsageError
from lightmoon_django.models import DeadLetter
from lightmoon_django.persistence.letters import Letters

__all__ = ["pause", "resume", "is_paused", "dead_letters", "skip", "replay"]


def pause(ref: Any, reason: str = "") -> None:
    """Hold back the actor's reminders and the durable tells to it until `resume`. Paused again, it has a new reason."""
    _letters(ref).pause(*_address(ref), reason)


def resume(ref: Any) -> None:
    """Let them come again; what came due meanwhile is due now. Nothing happens to an actor that isn't paused."""
    _letters(ref).resume(*_address(ref))


def is_paused(ref: Any) -> bool:
    return _letters(ref).is_paused(*_address(ref))


def dead_letters(ref: Any = None) -> list[DeadLetter]:
    """What failed too often, the oldest first: of one actor, or of all actors in all databases."""
    if ref is not None:
        actor, key = _address(ref)
        return _letters(ref).find(actor=actor, key=key)
    found = [letter for alias in sorted(_aliases()) for letter in Letters(alias).find()]
    return sorted(found, key=lambda letter: letter.buried_at)


def skip(letter: DeadLetter) -> bool:
    """Delete it. False: somebody has replayed or skipped it before."""
    return Letters(_home(letter)).skip(letter)


def replay(letter: DeadLetter) -> bool:
    """Try it again from now on, with all its attempts, and delete the letter in the same transaction.

    A tell gets a fresh id, so that it isn't taken for the one that failed. A reminder fires once; where one of that
    name goes on, beside it and under a name of its own. False: somebody has replayed or skipped it before.
    """
    return Letters(_home(letter)).replay(letter)


def _letters(ref: Any) -> Letters:
    cls = type(ref).actor
    if not issubclass(cls, Model):
        raise UsageError(f"{registry.name_of(cls)} lives in memory only: it has no reminders, durable tells or pauses.")
    return Letters(router.db_for_write(cls))


def _address(ref: Any) -> tuple[str, str]:
    return registry.name_of(type(ref).actor), ref.key


def _home(letter: DeadLetter) -> str:
    return cast(str, letter._state.db)


def _aliases() -> set[str]:
    return {router.db_for_write(cls) for cls in registry.registered() if issubclass(cls, Model)}
