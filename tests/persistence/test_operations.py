"""What operators do with actors: pauses, dead letters, cleaning."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError

from lightmoon_django import operations, ref
from lightmoon_django.errors import UsageError
from lightmoon_django.models import Answer, DeadLetter, Outgoing, Pause, Reminder
from tests.app.models import Counter, Room, Scratchpad
from tests.persistence.test_records import (
    COUNTER,
    NOW,
    OTHER,
    UNTIL,
    activate,
    answer,
    due,
    keep,
    only,
    removal,
    setting,
    tell,
)
from tests.persistence.world import Activation, World


@pytest.fixture
def world(database: World) -> World:
    """SQLite and PostgreSQL, with all actors in that database."""
    return database


def bury(one: Activation, record: Any, then: int | None = None) -> DeadLetter:
    """Keep something that fails until it is a dead letter."""
    keep(one, record)
    claimed = only(due(one.node))
    one.node.run(lambda: one.node.store.bury(claimed, "why", then))
    return operations.dead_letters()[-1]


def test_an_actor_is_paused_and_resumed(world: World) -> None:
    one, other = ref(Counter, 1), ref(Room, "Größe")
    assert not operations.is_paused(one)
    operations.pause(one, "broken")
    operations.pause(other)
    assert operations.is_paused(one)
    assert world.node().store.paused() == {(COUNTER, "1"), ("testapp.Room", "Größe")}
    operations.resume(one)
    operations.resume(one)
    assert (operations.is_paused(one), operations.is_paused(other)) == (False, True)


def test_paused_again_it_has_a_new_reason(world: World) -> None:
    operations.pause(ref(Counter, 1), "first")
    since = Pause.objects.using(world.alias).get().since
    operations.pause(ref(Counter, 1), "second")
    row = Pause.objects.using(world.alias).get()
    assert (row.reason, row.since) == ("second", since)


def test_an_actor_in_memory_can_not_be_paused() -> None:
    with pytest.raises(UsageError, match="memory only"):
        operations.pause(ref(Scratchpad, "a"))


def test_dead_letters_are_listed_by_actor(world: World) -> None:
    (counter,) = activate(world)
    reminder = bury(counter, setting())
    sent = bury(counter, tell())
    assert operations.dead_letters() == [reminder, sent]
    assert operations.dead_letters(ref(Counter, counter.key)) == [reminder]
    assert operations.dead_letters(ref(Room, OTHER)) == []


def test_a_skipped_letter_is_gone(world: World) -> None:
    (counter,) = activate(world)
    letter = bury(counter, setting())
    assert operations.skip(letter)
    assert not operations.skip(letter)
    assert not operations.replay(letter)
    assert (operations.dead_letters(), world.waiting()) == ([], [])


def test_a_replayed_tell_is_due_now_under_a_fresh_id(world: World) -> None:
    (counter,) = activate(world)
    sent = tell(user="7")
    letter = bury(counter, sent)
    assert operations.replay(letter)
    assert not operations.replay(letter)
    row = Outgoing.objects.using(world.alias).get()
    assert row.id.bytes != sent.id
    assert (row.actor, row.key, row.message, bytes(row.payload)) == (COUNTER, OTHER, "add", b"[1]")
    assert (row.caller, row.user, row.attempts) == (sent.caller, "7", 0)
    assert row.wake_at > NOW
    assert operations.dead_letters() == []


def test_a_replayed_reminder_is_due_now_in_a_fresh_generation(world: World) -> None:
    (counter,) = activate(world)
    assert operations.replay(bury(counter, setting(user="7")))
    row = Reminder.objects.using(world.alias).get()
    assert (row.actor, row.key, row.name, row.message, row.user) == (COUNTER, counter.key, "alarm", "ring", "7")
    assert row.generation != 1
    assert row.wake_at == row.due_at > NOW
    assert operations.dead_letters() == []


def test_a_replayed_reminder_does_not_replace_the_one_that_goes_on(world: World) -> None:
    (counter,) = activate(world)
    assert operations.replay(bury(counter, setting(period=60), UNTIL))
    going_on, again = Reminder.objects.using(world.alias).order_by("pk")
    assert (going_on.name, going_on.period, going_on.due_at) == ("alarm", 60, UNTIL)
    assert again.name.startswith("alarm (replayed ")
    assert again.period == 0
    keep(counter, removal())
    assert [row[2] for row in world.waiting()] == [again.name]


def test_a_replay_that_fails_keeps_the_letter(world: World) -> None:
    """One transaction."""
    (counter,) = activate(world)
    letter = bury(counter, tell())
    letter.message = None  # type: ignore[assignment]
    with pytest.raises(IntegrityError):
        operations.replay(letter)
    assert operations.dead_letters() == [letter]


def test_the_command_cleans_one_database(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (counter,) = activate(world)
    fresh = answer()
    keep(counter, *[answer(expires_at=NOW) for _ in range(5)], fresh)
    monkeypatch.setattr("lightmoon_django.persistence.answers.PORTION", 2)
    out = StringIO()
    call_command("lightmoon_clean", database=world.alias, stdout=out)
    assert out.getvalue() == f"Deleted 5 expired answers from {world.alias!r}.\n"
    assert [row.id.bytes for row in Answer.objects.using(world.alias)] == [fresh.id]
