"""`clock`: time that the test moves."""

from __future__ import annotations

import asyncio
import datetime
import threading
from typing import Any

import pytest
from django.utils import timezone

from lightmoon_django import ref
from lightmoon_django.errors import DeadlineExceeded
from lightmoon_django.host import host
from tests.live.models import Probe, Scratch, Tally
from tests.live.timed import Alarm, Script


def active() -> list[str]:
    assert host.node is not None
    return sorted(one.key for one in host.node.catalog)


def test_an_idle_actor_leaves_memory_when_its_time_has_come(alias: str, clock: Any) -> None:
    """B38, B65: and not before; its next call finds what is stored."""
    row = Tally.objects.create()
    row.add.sync(1)
    clock.advance(299)
    assert active() == [str(row.pk)]
    clock.advance(datetime.timedelta(seconds=5))
    assert active() == []
    assert ("deactivate", str(row.pk)) in Probe.log
    assert row.add.sync(1) == 2


def test_a_stuck_turn_ends_at_its_deadline(clock: Any, settle: Any) -> None:
    """B40, B52, B65: what was queued behind it runs, or never does if its own deadline has passed."""
    actor = ref(Scratch, "stuck")
    actor.hold.options(timeout=20).tell("never", 1000)
    actor.add.options(timeout=5).tell(500)
    actor.add.options(timeout=60).tell(1)
    clock.advance(19)
    assert active() == ["stuck"]
    clock.advance(2)
    settle()
    assert actor.get.sync() == 1


@pytest.mark.django_db(transaction=True)
async def test_an_async_test_sees_a_deadline_pass(clock: Any) -> None:
    """B40, B65: of an ask that it waits for."""
    row = await Tally.objects.acreate()
    asking = asyncio.create_task(ref(Tally, row.pk).hold.options(timeout=3600)("never"))
    await clock.aadvance(1)
    assert ("holding", "never") in Probe.log
    assert not asking.done()
    await clock.aadvance(datetime.timedelta(hours=1))
    with pytest.raises(DeadlineExceeded):
        await asking
    assert await ref(Tally, row.pk).add(1) == 1


def test_the_deadline_of_an_ask_from_a_thread(clock: Any) -> None:
    """B65: threads of the test's own ask too; the one that moves the clock does the database's work."""
    found: list[Any] = []

    def ask() -> None:
        try:
            ref(Scratch, "stuck").hold.options(timeout=30).sync("never")
        except DeadlineExceeded as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    while ("holding", "never") not in Probe.log:
        pass
    clock.advance(31)
    thread.join(5)
    assert len(found) == 1


def test_a_commit_that_never_comes_ends_at_its_deadline(db: None, clock: Any, faults: Any, caplog: Any) -> None:
    """B65: advancing doesn't wait for stores that the test itself keeps away."""
    row = Tally.objects.create()
    row.add.sync(1)
    with faults.database_away():
        row.add.tell(1)
        clock.advance(31)
    assert "The deadline passed while the turn was being stored" in caplog.text


def test_what_comes_due_runs_in_order_at_its_own_moment(clock: Any) -> None:
    """B65: also what a callback adds on the way; the actors settle in between."""
    node = host.anywhere()
    seen: list[Any] = []
    start = clock.monotonic()

    def at(after: float, then: Any) -> None:
        clock.call_at(start + after, then)

    def told() -> None:
        seen.append((round(clock.monotonic() - start, 6), Probe.log.count(1)))

    at(20, told)
    at(10, lambda: [ref(Scratch, "a").record.tell(1), at(15, told)])
    clock.advance(30)
    assert seen == [(15, 1), (20, 1)]
    assert clock.monotonic() - start == pytest.approx(30)  # the machine's own time has many digits
    assert node is host.node


def test_days_pass_quickly_where_nothing_lives(clock: Any) -> None:
    """B65: thirty days are no reason to wait."""
    before = clock.now()
    clock.advance(datetime.timedelta(days=2))
    assert clock.now() - before == datetime.timedelta(days=2)


@pytest.mark.django_db
def test_durable_reminders_fire_at_their_moments(clock: Any) -> None:
    """B65, B47: in order, each with its own time, however far the clock moves at once."""
    alarm = ref(Alarm, Alarm.objects.create().pk)
    moments: list[float] = []
    start = clock.now()

    async def note(actor: Any) -> None:
        moments.append((clock.now() - start).total_seconds())

    Script.ring = note
    try:
        alarm.ring.every(60).sync()
        alarm.ring.options(name="once").after(90).sync()
        clock.advance(301)
    finally:
        Script.clear()
    assert moments == pytest.approx([60, 90, 120, 180, 240, 300], abs=0.01)
    assert alarm.get.sync() == 6


def test_what_goes_wrong_with_reminders_is_not_hidden(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """B65."""

    class Broken:
        async def fire_due(self, now: datetime.datetime) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(host.anywhere().reminders, "fire_due", Broken().fire_due)
    with pytest.raises(ZeroDivisionError):
        clock.advance(1)


def test_it_begins_now(clock: Any) -> None:
    """B65: so that times that the project computes from Django's own clock come due."""
    assert abs(clock.now() - timezone.now()) < datetime.timedelta(minutes=1)


def test_time_never_goes_back(clock: Any) -> None:
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(-1)
