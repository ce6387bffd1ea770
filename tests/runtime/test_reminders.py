"""Durable reminders: stored with a turn, fired by whichever node is awake, on time that the test owns."""

from __future__ import annotations

import asyncio
import datetime
import gc
import itertools
import logging
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from lightmoon_django import actor as decorate
from lightmoon_django import message, operations, ref
from lightmoon_django.actor import registry
from lightmoon_django.actor.cadence import following, moment
from lightmoon_django.errors import ActorNotFound, InvalidParams, Rejected, Unavailable, UsageError
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from lightmoon_django.models import DeadLetter, Node
from lightmoon_django.models import Reminder as Row
from lightmoon_django.persistence.records import ReminderChange, Schedule, latest
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.reminders import continued, missed
from tests.live.models import Probe
from tests.live.timed import Alarm, MadeAlarm, Pendulum, Script
from tests.runtime.conftest import Late, World, _backends, _open, eventually

SECOND = 1_000_000  # microseconds
STEP = 0.05  # seconds of the node's time


class Wake:
    """Alarms of one database, and the clock of the node."""

    def __init__(self, world: World, clock: Late) -> None:
        self.world = world
        self.clock = clock
        self.alias = "pg" if world.backend == "postgresql" else "default"

    async def make(self, cls: Any = Alarm, **values: Any) -> Any:
        assert self.world.node is not None
        row = await self.world.db(lambda: cls.objects.create(**values))
        return ref(cls, str(row.pk))

    def now(self) -> datetime.datetime:
        return self.clock.now()

    def activation(self, actor: Any) -> Activation | None:
        return self.world.node.find(Address(registry.name_of(type(actor).actor), actor.key))

    async def rows(self) -> list[Row]:
        return await self.world.db(lambda: list(Row.objects.using(self.alias).order_by("name")))

    async def letters(self) -> list[DeadLetter]:
        return await self.world.db(lambda: list(DeadLetter.objects.using(self.alias).all()))

    async def pass_by(self, seconds: float) -> None:
        """Let time pass step by step, each as long as the sleepers need for their looks."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until - 1e-9:
            self.clock.advance(min(STEP, until - self.clock.monotonic()))
            await self.rest()

    async def rest(self) -> None:
        """Until no look, no reminder and no turn is under way."""
        await eventually(self.resting, "everything is at rest")

    def resting(self) -> bool:
        node = host.node
        if node is None:
            return True
        sleepers = node.reminders._sleepers.values()
        return not any(one._looking or one._in_flight for one in sleepers) and all(
            one.settled and not one.mailbox for one in node.catalog
        )

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
        """Let time pass until that holds."""
        last = self.clock.monotonic() + seconds
        while not condition():
            assert self.clock.monotonic() < last, what
            await self.pass_by(STEP)

    async def restart(self) -> None:
        """The node stops, and another process starts where it left off."""
        await host.shut_down(grace=5.0)
        assert host.node is None


@pytest.fixture(params=_backends()[1:])
async def wake(request: pytest.FixtureRequest, clock: Late) -> AsyncIterator[Wake]:
    Script.clear()
    async for world in _open(request.param):
        yield Wake(world, clock)
    Script.clear()


def rings() -> list[str]:
    return [one[1] for one in Probe.log if one[0] == "ring"]


def rang(*notes: str) -> Callable[[], bool]:
    return lambda: rings() == list(notes)


# One-shot


async def test_a_reminder_fires_at_its_time_and_once(wake: Wake) -> None:
    """B45, B49: with its arguments, not before, and then it is gone."""
    actor = await wake.make()
    await actor.ring.at(wake.now() + datetime.timedelta(seconds=10), "wake up", n=5)
    assert [row.due_at for row in await wake.rows()] == [moment(wake.now()) + 10 * SECOND]
    await wake.pass_by(9.9)
    assert rings() == []
    await wake.pass_by(0.2)
    assert rings() == ["wake up"]
    await wake.pass_by(70)
    assert rings() == ["wake up"]
    assert await wake.rows() == []
    assert await actor.get() == 5


async def test_a_delay_may_be_shorter_than_a_second(wake: Wake) -> None:
    """B49: and fires within its own hundredth, though others' reminders are looked for once a second."""
    actor = await wake.make()
    await wake.pass_by(0.3)
    await actor.ring.after(0.25)
    due = wake.clock.monotonic() + 0.25
    await wake.until(rang(""), "it fires")
    assert due <= wake.clock.monotonic() <= due + STEP + 0.01


@pytest.mark.parametrize("delay", [0, -5, datetime.timedelta(seconds=-1)])
async def test_a_delay_of_nothing_fires_at_once(wake: Wake, delay: Any) -> None:
    """B49: also one that is past."""
    actor = await wake.make()
    await actor.ring.after(delay)
    await wake.pass_by(STEP)
    assert rings() == [""]


async def test_a_time_that_is_past_fires_at_once(wake: Wake) -> None:
    """B46, B49: as if the system had been down."""
    actor = await wake.make()
    await actor.ring.at(wake.now() - datetime.timedelta(days=1))
    await wake.pass_by(STEP)
    assert rings() == [""]


async def test_a_blocking_message_can_be_reminded_of(wake: Wake) -> None:
    """B49: its next state is part of its own transaction."""
    actor = await wake.make()
    await actor.ring_in_thread.after(1, "thread")
    await wake.until(rang("thread"), "it fires")
    await wake.rest()
    assert await wake.rows() == []
    assert await actor.get() == 1


async def test_a_reminder_can_be_set_from_sync_code(wake: Wake) -> None:
    """B49: outside a turn."""
    actor = await wake.make()
    await wake.world.db(lambda: actor.ring.after(1, "sync").sync())
    await wake.until(rang("sync"), "it fires")


async def test_a_reminder_in_an_open_transaction_waits_for_its_commit(wake: Wake) -> None:
    """B70: as a tell does."""
    actor = await wake.make()

    def rolled_back() -> None:
        with transaction.atomic(using=wake.alias):
            actor.ring.after(1, "never").sync()
            transaction.set_rollback(True, using=wake.alias)

    def committed() -> None:
        with transaction.atomic(using=wake.alias):
            actor.ring.after(1, "kept").sync()

    await wake.world.db(rolled_back)
    await wake.world.db(committed)
    await wake.until(rang("kept"), "it fires")
    await wake.pass_by(3)
    assert rings() == ["kept"]


# Turns


async def test_a_turn_sets_its_own_reminders_at_once(wake: Wake) -> None:
    """B45: they are stored in the turn's own commit."""
    actor = await wake.make()
    Script.act = lambda self: self.ring.after(5, "own")
    await actor.act()
    assert [row.name for row in await wake.rows()] == ["ring"]
    await wake.until(rang("own"), "it fires")
    assert await actor.get() == 101


async def test_a_blocking_turn_sets_its_own_reminders(wake: Wake) -> None:
    """B45: in its own transaction."""
    actor = await wake.make()
    Script.act = lambda self: self.ring.after(5, "own")
    await actor.act_in_thread()
    await wake.until(rang("own"), "it fires")


async def test_a_turn_that_rolls_back_sets_nothing(wake: Wake) -> None:
    """B34: neither its own nor another actor's reminder."""
    actor, other = await wake.make(), await wake.make()

    def act(self: Any) -> None:
        self.ring.after(1, "own")
        other.ring.after(1, "other's")

    Script.act = act
    with pytest.raises(Rejected):
        await actor.act(then_fail=True)
    assert await wake.rows() == []
    await wake.pass_by(3)
    assert rings() == []


async def test_a_turn_sets_another_actor_s_reminder(wake: Wake) -> None:
    """B45: it goes there when the turn is durable."""
    actor, other = await wake.make(), await wake.make()
    Script.act = lambda self: other.ring.after(1, "other's")
    await actor.act()
    await wake.until(rang("other's"), "it fires")
    assert await other.get() == 1


async def test_the_last_setting_of_a_turn_counts(wake: Wake) -> None:
    """B49: of each name."""
    actor = await wake.make()

    def act(self: Any) -> None:
        self.ring.after(1, "first")
        self.ring.after(2, "second")
        self.ring.options(name="other").after(3, "third")
        self.ring.options(name="gone").after(1, "fourth")
        self.ring.options(name="gone").cancel()

    Script.act = act
    await actor.act()
    assert [row.name for row in await wake.rows()] == ["other", "ring"]
    await wake.until(rang("second", "third"), "both fire")


async def test_a_reading_turn_sets_no_reminder(wake: Wake) -> None:
    """B71: that would be a write."""
    actor = await wake.make()
    errors = []

    def act(self: Any) -> None:
        try:
            self.ring.after(1)
        except UsageError as error:
            errors.append(str(error))

    Script.act = act
    await actor.look()
    assert "read_only" in errors[0]
    assert await wake.rows() == []


async def test_a_fired_reminder_is_not_set_again_to_the_same_time(wake: Wake) -> None:
    """B49: `on_activate` may set what the fields say, also when the firing itself activates the actor."""
    actor = await wake.make()
    when = wake.now() + datetime.timedelta(seconds=5)
    Script.activate = lambda self: self.ring.at(when, "on time")
    await actor.get()
    await wake.restart()
    assert wake.world.node is not None
    await wake.until(rang("on time"), "it fires")
    await wake.rest()
    assert await wake.rows() == []
    Script.act = lambda self: self.ring.at(when, "again")
    await actor.act()
    await wake.pass_by(3)
    assert rings() == ["on time"]


async def test_a_handler_may_set_its_own_reminder_anew(wake: Wake) -> None:
    """B49: that replaces what would follow; the time that it fires for is no change."""
    actor = await wake.make()
    first = wake.now() + datetime.timedelta(seconds=1)

    async def ring(self: Any) -> None:
        if self.count == 1:
            self.ring.at(first, "not this")
            self.ring.after(2, "second")
            self.ring.at(first, "nor this")

    Script.ring = ring
    await actor.ring.at(first, "first")
    await wake.until(rang("first", "second"), "both fire")
    await wake.pass_by(5)
    assert rings() == ["first", "second"]
    assert await wake.rows() == []


async def test_a_handler_may_cancel_its_own_period(wake: Wake) -> None:
    """B49: then nothing follows."""
    actor = await wake.make()

    async def ring(self: Any) -> None:
        if self.count == 2:
            self.ring.cancel()

    Script.ring = ring
    await actor.ring.every(1)
    await wake.pass_by(6)
    assert rings() == ["", ""]
    assert await wake.rows() == []


# Restarts


async def test_a_reminder_outlives_its_node(wake: Wake) -> None:
    """B45: set, then everything restarts before it is due; fires once in effect."""
    actor = await wake.make()
    await actor.ring.after(10, "after all")
    await wake.restart()
    assert wake.world.node is not None
    await wake.pass_by(8)
    assert rings() == []
    await wake.pass_by(8)
    assert rings() == ["after all"]
    assert await actor.get() == 1


async def test_a_reminder_that_came_due_while_nothing_ran_fires_on_recovery(wake: Wake) -> None:
    """B46: at once."""
    actor = await wake.make()
    await actor.ring.after(10, "late")
    await wake.restart()
    wake.clock.advance(3600)
    assert wake.world.node is not None
    await wake.pass_by(STEP)
    assert rings() == ["late"]
    assert await actor.get() == 1


async def test_a_stopping_node_gives_back_what_it_claimed(wake: Wake) -> None:
    """B42, B45: the next one needn't wait for the claim's end."""
    actor = await wake.make()
    holding: list[bool] = []

    async def ring(self: Any) -> None:
        holding.append(True)
        await Probe.gate("ring").wait()

    Script.ring = ring
    await actor.ring.after(1, "held")
    wake.clock.advance(1.01)
    await eventually(lambda: bool(holding), "it runs")
    await host.shut_down(grace=0.0)
    Script.clear()
    assert wake.world.node is not None
    await wake.pass_by(3)
    assert rings() == ["held", "held"]
    assert await actor.get() == 1


# Periods


async def test_a_period_does_not_drift(wake: Wake) -> None:
    """B47: however slow its handler and however late a look."""
    actor = await wake.make()
    start = moment(wake.now())

    async def slow(self: Any) -> None:
        wake.clock._time += 0.3  # the work takes that long
        wake.clock._wall += datetime.timedelta(seconds=0.3)

    Script.ring = slow
    await actor.ring.every(1)
    for _ in range(5):
        await wake.pass_by(1.1)
        assert ((await wake.rows())[0].due_at - start) % SECOND == 0
    assert len(rings()) == (moment(wake.now()) - start) // SECOND


async def test_firings_that_were_missed_become_one(wake: Wake) -> None:
    """B46, B47: unless something else is asked for; then it keeps to its grid."""
    await missed_firings(wake, "once", 1)


async def test_firings_that_were_missed_are_made_up_for(wake: Wake) -> None:
    """B46, B47: one after the other, with catch_up="all"."""
    await missed_firings(wake, "all", 5)


async def test_firings_that_were_missed_are_left_out(wake: Wake) -> None:
    """B46, B47: with catch_up="skip"."""
    await missed_firings(wake, "skip", 0)


async def missed_firings(wake: Wake, catch_up: str, fired: int) -> None:
    actor = await wake.make()
    start = moment(wake.now())
    await actor.ring.options(catch_up=catch_up).every(datetime.timedelta(minutes=1))
    await wake.restart()
    wake.clock.advance(5 * 60 + 30)
    assert wake.world.node is not None
    await wake.pass_by(1)
    assert len(rings()) == fired
    assert [row.due_at - start for row in await wake.rows()] == [6 * 60 * SECOND]
    assert await actor.get() == fired
    await wake.pass_by(30)
    assert len(rings()) == fired + 1


async def test_a_crontab_line_is_read_in_the_project_s_time_zone(wake: Wake, settings: Any) -> None:
    """B49: half past four in Berlin is half past three in UTC, in winter."""
    settings.TIME_ZONE = "Europe/Berlin"
    actor = await wake.make()
    await actor.ring.every("morning", cron="30 4 * * *")
    (row,) = await wake.rows()
    due = datetime.datetime(2026, 1, 1, 3, 30, tzinfo=datetime.UTC)
    assert row.due_at == moment(due)
    wake.clock.advance((due - wake.now()).total_seconds() - 0.5)
    await wake.pass_by(1)
    assert rings() == ["morning"]
    (row,) = await wake.rows()
    assert row.due_at == moment(due) + 86_400 * SECOND


async def test_a_crontab_line_may_count_seconds(wake: Wake) -> None:
    """B49: with six fields."""
    actor = await wake.make()
    await actor.ring.every(cron="*/2 * * * * *")
    await wake.pass_by(7)
    assert len(rings()) == 3


def test_cron_knows_of_daylight_saving(settings: Any) -> None:
    """B47, B49: four o'clock stays four o'clock."""
    settings.TIME_ZONE = "Europe/Berlin"
    zone = ZoneInfo("Europe/Berlin")
    due = datetime.datetime(2026, 3, 28, 4, 0, tzinfo=zone)
    then = following(moment(due), 0, period=0, cron="0 4 * * *")
    assert then == moment(datetime.datetime(2026, 3, 29, 4, 0, tzinfo=zone))
    assert then - moment(due) == 23 * 3600 * SECOND


# Changes


async def test_a_cancelled_reminder_does_not_fire(wake: Wake) -> None:
    """B49: and to cancel what isn't there is no error."""
    actor = await wake.make()
    await actor.ring.after(1)
    await actor.ring.cancel()
    await actor.ring.cancel()
    await wake.pass_by(3)
    assert rings() == []
    assert await wake.rows() == []


async def test_a_reminder_set_anew_replaces_the_old_one(wake: Wake) -> None:
    """B49: of the same name."""
    actor = await wake.make()
    await actor.ring.after(1, "old")
    await actor.ring.after(3, "new")
    await wake.pass_by(5)
    assert rings() == ["new"]


async def test_names_tell_reminders_of_one_message_apart(wake: Wake) -> None:
    """B49: each is set and cancelled on its own."""
    actor = await wake.make()
    for name in ("a", "b", "c"):
        await actor.ring.options(name=name).after(1, name)
    await actor.ring.options(name="b").cancel()
    await wake.pass_by(3)
    assert sorted(rings()) == ["a", "c"]


@pytest.mark.parametrize("sets", [False, True])
@pytest.mark.parametrize("change", ["cancel", "anew"])
async def test_a_stale_firing_leaves_no_trace(
    wake: Wake, change: str, sets: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """B49: what was cancelled or set anew while it fired doesn't come back, also where its handler sets it."""
    actor = await wake.make()
    holding: list[bool] = []

    async def ring(self: Any) -> None:
        holding.append(True)
        if sets:
            self.ring.after(1, "resurrected")
        await Probe.gate("ring").wait()

    Script.ring = ring
    await actor.ring.every(1, "old")
    wake.clock.advance(1.01)
    await eventually(lambda: bool(holding), "it runs")
    table = Row.objects.using(wake.alias)
    if change == "cancel":
        await wake.world.db(table.all().delete)
    else:
        later = moment(wake.now()) + 60 * SECOND
        await wake.world.db(lambda: table.update(generation=7, due_at=later, wake_at=later))
    with caplog.at_level(logging.WARNING, "lightmoon"):
        Probe.gate("ring").set()
        await wake.rest()
    assert await actor.get() == 0
    assert [row.generation for row in await wake.rows()] == ([] if change == "cancel" else [7])
    assert await wake.letters() == []
    assert caplog.records == []


@pytest.mark.parametrize("by", ["ring", "act", "act_in_thread"])
async def test_what_is_about_to_fire_can_be_cancelled_and_set_again(wake: Wake, by: str) -> None:
    """B49: to the same time, while it waits behind those turns already: the last setting counts.

    By the turn that cancels it, or by one that starts before that is durable, or after.
    """
    actor = await wake.make()
    when = wake.now() + datetime.timedelta(seconds=1)
    holding: list[bool] = []

    async def busy(self: Any) -> None:
        if holding:
            return
        holding.append(True)
        await Probe.gate("ring").wait()
        self.ring.cancel()
        if by == "ring":
            self.ring.at(when, "kept")

    Script.ring = busy
    Script.act = lambda self: self.ring.at(when, "kept") if by != "ring" else None
    await actor.ring.at(when, "first")
    then = actor.act_in_thread if by == "act_in_thread" else actor.act
    calls = [asyncio.ensure_future(_await(actor.ring("busy"))), asyncio.ensure_future(_await(then()))]
    await eventually(lambda: bool(holding), "it runs")
    wake.clock.advance(1.01)
    await eventually(lambda: len(wake.activation(actor).mailbox) == 2, "it is about to fire")  # type: ignore[union-attr]
    Probe.gate("ring").set()
    await asyncio.gather(*calls)
    await wake.until(lambda: "kept" in rings(), "it fires", 5)
    await wake.rest()
    assert await wake.rows() == []
    assert await actor.get() % 100 == 2


async def test_a_turn_that_follows_on_a_firing_does_not_set_it_again(wake: Wake) -> None:
    """B49: to the time that it has fired for, also while that firing is on its way to the database."""
    actor = await wake.make()
    when = wake.now() + datetime.timedelta(seconds=1)
    holding: list[bool] = []

    async def busy(self: Any) -> None:
        if not holding:
            holding.append(True)
            await Probe.gate("ring").wait()

    Script.ring = busy
    Script.act = lambda self: self.ring.at(when, "again")
    await actor.ring.at(when, "first")
    calls = [asyncio.ensure_future(_await(actor.ring("busy")))]
    await eventually(lambda: bool(holding), "it runs")
    wake.clock.advance(1.01)
    await eventually(lambda: wake.activation(actor).mailbox, "it is about to fire")  # type: ignore[union-attr]
    calls.append(asyncio.ensure_future(_await(actor.act())))
    await eventually(lambda: len(wake.activation(actor).mailbox) == 2, "the other turn waits")  # type: ignore[union-attr]
    Probe.gate("ring").set()
    await asyncio.gather(*calls)
    await wake.pass_by(3)
    assert rings() == ["busy", "first"]
    assert await wake.rows() == []


async def test_a_paused_actor_is_reminded_when_it_is_resumed(wake: Wake) -> None:
    """Operations: calls go on, other actors' reminders too; what came due meanwhile is due then."""
    actor, other = await wake.make(), await wake.make()
    await actor.ring.after(1, "held back")
    await other.ring.after(1, "other")
    await wake.world.db(operations.pause, actor)
    await wake.pass_by(5)
    assert rings() == ["other"]
    assert await actor.get() == 0
    await wake.world.db(operations.resume, actor)
    await wake.pass_by(1.1)
    assert rings() == ["other", "held back"]
    assert await wake.rows() == []


# Failures


async def test_a_reminder_of_a_class_that_is_declared_wrongly_holds_up_no_other(wake: Wake) -> None:
    """B48: it is tried again, and becomes a dead letter."""

    class Broken:
        @message
        async def ring(self, n: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    actor = await wake.make()
    decorate(Broken)
    try:
        await actor.ring.after(60, "sound")
        await wake.world.db(_of_another_class, wake.alias, registry.name_of(Broken))
        await wake.until(rang("sound"), "the other one fires", 61)
        await actor.ring.after(20, "later")
        await wake.pass_by(21)
        assert rings() == ["sound", "later"]
        assert [letter.attempts for letter in await wake.letters()] == [5]
    finally:
        registry._registered.pop(Broken)
        registry._refs.pop(Broken)
        registry._named.clear()


def _of_another_class(alias: str, name: str) -> None:
    row = Row.objects.using(alias).get()
    row.pk, row.actor = None, name
    row.save(using=alias)


async def test_what_becomes_of_a_reminder_is_noted_as_soon_as_the_database_takes_it(
    wake: Wake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B35, B48: it is not tried again at its claim's end only, minutes later."""
    actor = await wake.make()
    await actor.ring.after(1)
    store: Any = wake.activation(actor).store.store  # type: ignore[union-attr]
    tried: list[bool] = []

    async def fail_once(self: Any) -> None:
        tried.append(True)
        if len(tried) == 1:
            raise Rejected("Not yet.")

    def away(*_: Any, **__: Any) -> None:
        raise OSError("connection refused")

    Script.ring = fail_once
    with monkeypatch.context() as patch:
        patch.setattr(store, "postpone", away)
        wake.clock.advance(1.01)
        await eventually(lambda: bool(tried) and wake.world.node.idle, "it has failed")
    for _ in range(10):
        wake.clock.advance(0.5)
        await eventually(lambda: wake.world.node.idle, "it is at rest")
    assert len(tried) == 2
    await wake.rest()
    assert await wake.rows() == []


async def test_a_reminder_that_raises_is_tried_again_and_buried(wake: Wake) -> None:
    """B24, B48: with back-off, then a dead letter, and the actor goes on."""
    actor = await wake.make()
    tried: list[float] = []

    async def fail(self: Any) -> None:
        tried.append(wake.clock.monotonic())
        raise ZeroDivisionError("secret")

    Script.ring = fail
    await actor.ring.after(1, "bad")
    await wake.pass_by(40)
    pauses = [round(b - a) for a, b in itertools.pairwise(tried)]
    assert pauses == [1, 2, 4, 8]
    (letter,) = await wake.letters()
    assert (letter.what, letter.name, letter.attempts) == ("reminder", "ring", 5)
    assert "ZeroDivisionError: secret" in letter.error
    assert await wake.rows() == []
    assert await actor.get() == 0


async def test_a_reminder_that_is_tried_again_may_succeed(wake: Wake) -> None:
    """B48: and takes effect once."""
    actor = await wake.make()
    tried: list[bool] = []

    async def fail_twice(self: Any) -> None:
        tried.append(True)
        if len(tried) < 3:
            raise Rejected("Not yet.")

    Script.ring = fail_twice
    await actor.ring.after(1)
    await wake.pass_by(10)
    assert len(tried) == 3
    assert await actor.get() == 1
    assert await wake.letters() == []
    assert await wake.rows() == []


async def test_a_periodic_reminder_goes_on_after_a_dead_letter(wake: Wake) -> None:
    """B48: at its next time."""
    actor = await wake.make()
    start = moment(wake.now())

    async def fail(self: Any) -> None:
        raise Rejected("Never today.")

    Script.ring = fail
    await actor.ring.every(60)
    await wake.pass_by(100)
    (letter,) = await wake.letters()
    assert "Never today." in letter.error
    Script.clear()
    assert [row.due_at - start for row in await wake.rows()] == [120 * SECOND]
    await wake.pass_by(25)
    assert await actor.get() == 1


async def test_a_reminder_that_kills_its_process_each_time_is_buried_unrun(wake: Wake) -> None:
    """B24: its claims were counted, though nobody lived to tell."""
    actor = await wake.make()
    await actor.ring.after(60)
    await wake.world.db(lambda: Row.objects.using(wake.alias).update(attempts=5))
    await wake.pass_by(62)
    assert rings() == []
    (letter,) = await wake.letters()
    assert "5 times" in letter.error
    assert await actor.get() == 0


async def test_a_hanging_reminder_is_buried(wake: Wake) -> None:
    """B24: one that never ends by its deadline counts as failed."""
    actor = await wake.make()
    tried: list[bool] = []

    async def hang(self: Any) -> None:
        tried.append(True)
        await asyncio.Event().wait()

    Script.ring = hang
    await actor.ring.after(1)
    for attempt in range(1, 6):
        for _ in range(200):
            wake.clock.advance(0.5)
            await asyncio.sleep(0.001)
            if len(tried) == attempt:
                break
        assert len(tried) == attempt
        wake.clock.advance(31)
        await eventually(wake.resting, "it is abandoned")
    await wake.pass_by(1)
    (letter,) = await wake.letters()
    assert "did not finish" in letter.error
    assert len(tried) == 5


async def test_a_call_that_never_ran_does_not_count(wake: Wake) -> None:
    """B48, B53: an actor that can't be reached for long keeps its reminder."""
    actor = await wake.make()
    await actor.ring.after(60)
    await wake.restart()

    def elsewhere() -> None:
        values = {"host": "elsewhere", "pid": 1, "process_started": "", "started_at": 0, "expires_at": 2**62}
        Node.objects.using(wake.alias).create(id=77, **values)
        Alarm.objects.filter(pk=actor.key).update(lightmoon_owner=77)

    await wake.world.db(elsewhere)
    assert wake.world.node is not None
    await wake.pass_by(75)
    assert rings() == []
    (row,) = await wake.rows()
    assert row.attempts <= 1
    assert "another live process" in row.last_error
    await wake.world.db(lambda: Node.objects.using(wake.alias).filter(pk=77).delete())
    await wake.pass_by(2)
    assert rings() == [""]


async def test_a_handler_that_is_always_unavailable_is_buried(wake: Wake) -> None:
    """B48: it did run, and is tried again sooner than one that fails otherwise."""
    actor = await wake.make()
    tried: list[float] = []

    async def away(self: Any) -> None:
        tried.append(wake.clock.monotonic())
        raise Unavailable("Its own upstream.")

    Script.ring = away
    await actor.ring.after(1)
    await wake.pass_by(15)
    assert [round(b - a) for a, b in itertools.pairwise(tried)] == [1, 1, 1, 1]
    assert "upstream" in (await wake.letters())[0].error


async def test_a_message_that_is_unknown_here_is_tried_again(wake: Wake) -> None:
    """B48: the other processes may be newer than this one; in the end it is a dead letter."""
    actor = await wake.make()
    await actor.ring.after(1)
    await wake.world.db(lambda: Row.objects.using(wake.alias).update(message="renamed"))
    await wake.pass_by(1.5)
    assert len(await wake.rows()) == 1
    await wake.pass_by(30)
    assert await wake.rows() == []
    assert "renamed" in (await wake.letters())[0].error


async def test_the_database_may_be_away_for_a_while(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    """B35: looks go on, and what came due meanwhile fires."""
    actor = await wake.make()
    await actor.ring.after(1)
    store = wake.activation(actor).store.store  # type: ignore[union-attr]
    asked: list[bool] = []

    def away() -> int:
        asked.append(True)
        raise OSError("connection refused")

    monkeypatch.setattr(store, "next_due", away)
    await wake.pass_by(5)
    assert len(asked) >= 4
    assert rings() == []
    monkeypatch.undo()
    monkeypatch.setattr("lightmoon_django.host.SystemClock", lambda: wake.clock)
    await wake.pass_by(1.2)
    assert rings() == [""]


async def test_a_locked_reminder_is_passed_over(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    """B35, B45: it is looked at again soon, and not in a busy loop."""
    actor = await wake.make()
    await actor.ring.after(1)
    store = wake.activation(actor).store.store  # type: ignore[union-attr]
    asked: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(store, "due", lambda *_: asked.append(True) or [])
        await wake.pass_by(2)
    assert 5 < len(asked) < 20
    await wake.pass_by(1)
    assert rings() == [""]


# Rows


async def test_a_reminder_makes_no_row(wake: Wake) -> None:
    """B49: neither for an actor without one, nor for one that would be made by any call."""
    assert wake.world.node is not None
    for cls in (Alarm, MadeAlarm):
        with pytest.raises(ActorNotFound):
            await ref(cls, 404).ring.after(1)
        assert await wake.world.db(cls.objects.count) == 0
    assert await wake.rows() == []


async def test_a_call_beside_a_reminder_makes_the_row(wake: Wake) -> None:
    """B49: whoever may make it does, in the same activation."""
    assert wake.world.node is not None
    reminding = asyncio.ensure_future(_await(ref(MadeAlarm, 5).ring.after(1)))
    await asyncio.sleep(0)
    calling = asyncio.ensure_future(_await(ref(MadeAlarm, 5).get()))
    found = await asyncio.gather(reminding, calling, return_exceptions=True)
    assert isinstance(found[0], ActorNotFound)
    assert found[1] == 0


async def test_a_reminder_of_a_deleted_actor_is_buried(wake: Wake) -> None:
    """B48: at once, and its row is not made again."""
    for cls in (Alarm, MadeAlarm):
        actor = await wake.make(cls)
        await actor.ring.every(1)
        await wake.world.db(lambda cls=cls: cls.objects.all().delete())
    await wake.pass_by(3)
    assert rings() == []
    assert await wake.rows() == []
    assert [letter.attempts for letter in await wake.letters()] == [1, 1]
    assert await wake.world.db(MadeAlarm.objects.count) == 0


# Load


async def test_many_reminders_come_due_at_once(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    """B53: never more than so many are under way, and none is left behind."""
    monkeypatch.setattr("lightmoon_django.runtime.sleeper.IN_FLIGHT", 5)
    actor = await wake.make()
    for n in range(23):
        await actor.ring.options(name=f"r{n}").after(1, str(n))
    (sleeper,) = wake.world.node.reminders._sleepers.values()
    most: list[int] = []

    async def ring(self: Any) -> None:
        most.append(len(sleeper._in_flight))

    Script.ring = ring
    await wake.until(lambda: len(rings()) == 23, "all fire", 5)
    assert sorted(rings(), key=int) == [str(n) for n in range(23)]
    assert max(most) <= 5


# Tests of users


async def test_a_test_kit_can_fire_what_is_due(wake: Wake) -> None:
    """B70: also what a handler sets for the same moment; later ones stay."""
    actor = await wake.make()

    async def ring(self: Any) -> None:
        if self.count == 1:
            self.ring.after(0, "at once")

    Script.ring = ring
    await actor.ring.after(3600, "in an hour")
    await actor.ring_in_thread.after(7200, "in two")
    node = wake.world.node
    assert await node.reminders.fire_due() == 0
    wake.clock._wall += datetime.timedelta(hours=1)
    assert await node.reminders.fire_due() == 2
    assert rings() == ["in an hour", "at once"]
    assert await node.reminders.fire_due(wake.now() + datetime.timedelta(hours=1)) == 1


async def test_reminders_that_set_each_other_end(wake: Wake, monkeypatch: pytest.MonkeyPatch) -> None:
    """B70: a test must not hang on them."""
    monkeypatch.setattr("lightmoon_django.runtime.reminders.ROUNDS", 7)
    actor = await wake.make()

    async def ring(self: Any) -> None:
        self.ring.after(0)

    await actor.ring.after(3600)
    Script.ring = ring
    wake.clock._wall += datetime.timedelta(hours=1)
    assert await wake.world.node.reminders.fire_due() == 7


# What is refused


async def test_what_can_not_work_is_refused_at_once(wake: Wake) -> None:
    """B66: with what to do instead."""
    actor = await wake.make()
    naive = datetime.datetime(2026, 5, 1)  # noqa: DTZ001
    for call, word in (
        (lambda: actor.ring.at(naive), "make_aware"),
        (lambda: actor.ring.at(5), ".after"),
        (lambda: actor.ring.after("5"), "number of seconds"),
        (lambda: actor.ring.after(float("nan")), "number of seconds"),
        (lambda: actor.ring.after(datetime.timedelta(days=4_000_000)), "9999"),
        (lambda: actor.ring.every(), "cron="),
        (lambda: actor.ring.every(0), "at least"),
        (lambda: actor.ring.every(cron="every day"), "five fields"),
        (lambda: actor.ring.every(cron="0 0 30 2 *"), "crontab"),
        (lambda: actor.ring.options(catch_up="never"), "once, all, skip"),
        (lambda: actor.ring.options(name=""), "1 to 200"),
        (lambda: ref(Pendulum, "p").ring.after(5), "@every"),
        (lambda: ref(Pendulum, "p").ring.cancel(), "@every"),
    ):
        with pytest.raises(UsageError, match=None) as found:
            call()
        assert word in str(found.value), str(found.value)
    with pytest.raises((TypeError, InvalidParams)):
        actor.ring.after(5, nothing=1)
    with pytest.raises(InvalidParams):
        actor.ring.after(5, note=7)
    assert await wake.rows() == []


async def test_a_naive_time_is_local_without_time_zone_support(settings: Any) -> None:
    """B49: as everywhere in Django."""
    from lightmoon_django.actor.reminder import _due

    settings.TIME_ZONE = "Europe/Berlin"
    when = datetime.datetime(2026, 1, 1, 12, 0)  # noqa: DTZ001
    assert _due(when, zoned=False) == moment(datetime.datetime(2026, 1, 1, 11, 0, tzinfo=datetime.UTC))


async def test_a_reminder_that_nobody_awaits_warns(wake: Wake) -> None:
    """B66: as a coroutine would; one that was set inside a turn doesn't."""
    actor = await wake.make()
    with pytest.warns(RuntimeWarning, match=r"live\.Alarm\.ring\.after\(…\) of '\d+' was never awaited"):
        actor.ring.after(5)
    Script.act = lambda self: self.ring.after(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await actor.act()
        gc.collect()


async def test_nobody_else_can_send_the_system_messages(wake: Wake) -> None:
    """B66: refs and clients don't see them."""
    actor = await wake.make()
    for name in registry.schema_of(Alarm).system:
        with pytest.raises(AttributeError, match="has no message"):
            getattr(actor, name)
    assert not set(registry.schema_of(Alarm).system) & {*registry.schema_of(Alarm).exposed}


# In words


def schedule(**values: Any) -> Schedule:
    return Schedule(**{"generation": 1, "message": "m", "payload": b"", "due_at": 100, **values})


def test_what_follows_a_firing() -> None:
    """B46, B47: without drift, by each rule."""
    assert continued(schedule(), 150) is None
    for catch_up, due_at in (("once", 160), ("all", 110), ("skip", 160)):
        then = continued(schedule(period=10, catch_up=catch_up), 155)
        assert then is not None
        assert then.due_at == due_at
        assert then.generation != 1
    then = continued(schedule(period=10), 90)  # a clock that went back fires nothing twice
    assert then is not None
    assert then.due_at == 110
    assert not missed(schedule(period=10, catch_up="skip"), 109)
    assert missed(schedule(period=10, catch_up="skip"), 110)
    assert not missed(schedule(catch_up="skip"), 10_000)


def test_only_the_last_change_of_a_reminder_is_kept() -> None:
    """B49: the store takes one of each name."""
    first, other, last = (ReminderChange(name=name, schedule=None) for name in ("a", "b", "a"))
    assert latest([first, other, last]) == [other, last]


async def _await(awaitable: Any) -> Any:
    return await awaitable
