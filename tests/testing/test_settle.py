"""`settle`: the test goes on when the actors have nothing left to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from lightmoon_django import ref
from lightmoon_django.errors import UsageError
from tests.live.models import Log, Probe, Scratch, Tally

Settle = Callable[..., None]


@pytest.mark.parametrize("count", [1, 200])
def test_what_was_told_has_run_and_is_stored(alias: str, settle: Settle, count: int) -> None:
    """B65: also what those that were told have told further."""
    one, other = Tally.objects.create(), Tally.objects.create()
    for _ in range(count):
        ref(Tally, one.pk).tell_other.tell(str(other.pk))
    settle()
    one.refresh_from_db()
    other.refresh_from_db()
    assert (one.count, other.count) == (count, count)


@pytest.mark.django_db
def test_turns_in_threads_and_their_commits_have_ended(settle: Settle) -> None:
    """B65: `def` messages too."""
    row = Tally.objects.create()
    ref(Tally, row.pk).write_log.tell("told")
    assert not Log.objects.exists()
    settle()
    assert Log.objects.get().text == "told"


@pytest.mark.django_db(transaction=True)
def test_a_tell_waits_for_the_transaction_that_it_was_sent_in(settle: Settle) -> None:
    """B77: it leaves after the commit."""
    actor = ref(Tally, Tally.objects.create().pk)
    with transaction.atomic():
        actor.add.tell(1)
        settle()
        assert ("activate", actor.key) not in Probe.log
    settle()
    assert actor.get.sync() == 1


@pytest.mark.django_db(transaction=True)
def test_a_tell_goes_with_the_transaction_that_it_was_sent_in(settle: Settle) -> None:
    """B77: not at all after a rollback."""
    actor = ref(Tally, Tally.objects.create().pk)
    with transaction.atomic():
        actor.add.tell(100)
        transaction.set_rollback(True)
    settle()
    assert actor.get.sync() == 0


@pytest.mark.django_db
def test_django_runs_what_waits_for_a_commit_inside_a_rolled_back_test(
    settle: Settle, django_capture_on_commit_callbacks: Any
) -> None:
    """B77: as always in a `TestCase`, on request."""
    actor = ref(Tally, Tally.objects.create().pk)
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        actor.add.tell(1)
    settle()
    assert actor.get.sync() == 1


@pytest.mark.django_db
def test_an_ask_inside_an_open_transaction_is_an_error_that_explains(settle: Settle) -> None:
    """B77: blocks of the test runner itself don't count."""
    actor = ref(Tally, Tally.objects.create().pk)
    with transaction.atomic(), pytest.raises(UsageError, match=r"inside an open transaction.*Use \.tell"):
        actor.add.sync(1)
    assert actor.add.sync(1) == 1


@pytest.mark.parametrize("_", range(2))
@pytest.mark.django_db
def test_a_tell_finds_no_actor_of_an_earlier_test(settle: Settle, _: int) -> None:
    """B65: keys come again after a rollback."""
    row = Tally.objects.create(pk=77)
    ref(Tally, row.pk).write_log.tell("told")
    settle()
    assert Log.objects.get().text == "told"


def test_without_a_node_there_is_nothing_to_wait_for(settle: Settle, faults: Any) -> None:
    settle()


def test_a_failure_names_who_is_busy_and_why(settle: Settle, faults: Any) -> None:
    """B65: the actor, its state, its mailbox, and whom its turn waits for."""
    ref(Scratch, "stuck").hold.tell("never")
    ref(Scratch, "stuck").add.tell(1)
    ref(Scratch, "asking").ask_other.tell("stuck")
    with pytest.raises(AssertionError) as found:
        settle(0.1)
    text = str(found.value)
    assert "Still busy after 0.1 s" in text
    assert "live.Scratch:stuck ACTIVE mailbox=2 gate=0: turn" in text
    assert "hold for Python, waits for something outside LightMoon" in text
    assert "ask_other for Python, waits for live.Scratch:stuck" in text


def test_a_failure_tells_of_a_store_that_does_not_answer(db: None, settle: Settle, faults: Any) -> None:
    """B65."""
    row, other = Tally.objects.create(), Tally.objects.create()
    row.add.sync(1)
    with faults.database_away():
        row.add.tell(1)
        other.add.tell(1)
        with pytest.raises(AssertionError) as found:
            settle(0.1)
    assert f"live.Tally:{row.pk} ACTIVE mailbox=0 gate=1: finished turns wait for the store" in str(found.value)
    assert f"live.Tally:{other.pk} LOADING mailbox=1 gate=0: waits for the store to claim" in str(found.value)
    settle()
    assert (row.get.sync(), other.get.sync()) == (2, 1)


def test_a_loop_that_is_blocked_is_named(settle: Settle, faults: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """B65: a handler that never lets go of the loop doesn't hang the test."""
    import threading

    from lightmoon_django.host import host
    from lightmoon_django.testing import settling

    monkeypatch.setattr(settling, "LOOP_GRACE", 0.1)
    ref(Scratch, "a").add.sync(1)
    assert host.node is not None
    release = threading.Event()
    host.node.loop.call_soon_threadsafe(release.wait)
    with pytest.raises(AssertionError, match="event loop did not answer"):
        settle(0.1)
    release.set()


@pytest.mark.django_db(transaction=True)
async def test_async_tests_settle_too(asettle: Any, settle: Settle) -> None:
    """B65: and the blocking form says what to use instead."""
    row = await Tally.objects.acreate()
    ref(Tally, row.pk).add.tell(1)
    await asettle()
    await row.arefresh_from_db()
    assert row.count == 1
    with pytest.raises(UsageError, match="begins with `a`"):
        settle()
