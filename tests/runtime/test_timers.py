"""`@every`: methods that tick while their actor is in memory, on time that the test owns."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lightmoon_django import every, message, ref
from lightmoon_django.actor import registry
from lightmoon_django.errors import Overloaded, Rejected, Unavailable, UsageError
from lightmoon_django.host import host
from lightmoon_django.identity import Address
from lightmoon_django.persistence.store import Down
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.timers import Tick
from tests.live.models import Probe
from tests.live.timed import Comet, Frames, Metronome, Pendulum, Script
from tests.runtime.conftest import PATIENCE, Late, World, _backends, _open, eventually
from tests.runtime.test_durability import Listener


class Beat:
    """One ticking actor, and the clock of its node."""

    def __init__(self, world: World, clock: Late) -> None:
        self.world = world
        self.clock = clock
        self.cls: Any = Pendulum if world.backend == "memory" else Metronome
        self.actor: Any = None
        self.node: Any = None

    async def start(self) -> Any:
        """A new actor, active."""
        self.node = self.world.node
        key = "p" if self.cls is Pendulum else (await self.world.db(Metronome.objects.create)).pk
        self.actor = ref(self.cls, str(key))
        await self.actor.get()
        return self.actor

    @property
    def activation(self) -> Activation | None:
        return self.world.node.find(Address(registry.name_of(self.cls), self.actor.key))

    async def until(self, count: int) -> None:
        await eventually(lambda: ("tick", count) in Probe.log, f"tick {count}")

    def node_mailboxes(self) -> list[Any]:
        assert self.node is not None
        return [call for one in self.node.catalog for call in one.mailbox]

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def rest(self) -> None:
        """Until nothing of the actor is under way."""
        await eventually(lambda: self.activation is not None and self.activation.quiet, "it is at rest")


@pytest.fixture(params=_backends())
async def beat(request: pytest.FixtureRequest, clock: Late) -> AsyncIterator[Beat]:
    Script.clear()
    async for world in _open(request.param):
        yield Beat(world, clock)
    Script.clear()


def ticks() -> list[int]:
    return [one[1] for one in Probe.log if one[0] == "tick"]


async def test_a_timer_ticks_while_its_actor_is_active(beat: Beat) -> None:
    """B15: each tick is a turn whose changes are kept, first one period after the activation."""
    actor = await beat.start()
    beat.advance(0.9)
    await beat.rest()
    assert ticks() == []
    for count in (1, 2, 3):
        beat.advance(1)
        await beat.until(count)
        await beat.rest()
    assert await actor.get() == 3
    if beat.cls is Metronome:
        stored = await beat.world.db(Metronome.objects.get, pk=actor.key)
        assert stored.count == 3


async def test_ticks_never_overlap_each_other(beat: Beat) -> None:
    """B15: those that come due while one runs are left out, and the grid stays."""
    await beat.start()

    async def slow(self: Any) -> None:
        if self.count == 1:
            await Probe.gate("slow").wait()

    Script.tick = slow
    beat.advance(1)
    await beat.until(1)
    beat.advance(1)
    beat.advance(1.5)
    await asyncio.sleep(0)
    assert ticks() == [1]
    assert beat.activation is not None
    assert not beat.activation.mailbox
    Probe.gate("slow").set()
    await beat.rest()
    beat.advance(0.4)
    await beat.rest()
    assert ticks() == [1], "not before its moment"
    beat.advance(0.1)
    await beat.until(2)


async def test_ticks_never_overlap_a_turn(beat: Beat) -> None:
    """B15: one waits behind the turn that runs; those that would pile up are left out."""
    actor = await beat.start()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    for _ in range(5):
        beat.advance(1)
        await asyncio.sleep(0)
    assert ticks() == []
    Probe.gate("g").set()
    assert await holding == 0
    await beat.until(1)
    await beat.rest()
    assert ticks() == [1]


async def test_a_tick_that_raises_does_not_stop_the_schedule(beat: Beat, caplog: pytest.LogCaptureFixture) -> None:
    """B15: it is logged, and leaves no trace."""
    actor = await beat.start()

    async def fail(self: Any) -> None:
        raise Rejected("Not this one.") if Probe.log.count(("tick", 1)) == 1 else ZeroDivisionError("secret")

    Script.tick = fail
    with caplog.at_level(logging.WARNING, "lightmoon"):
        for failed in (1, 2):
            beat.advance(1)
            await eventually(lambda n=failed: Probe.log.count(("tick", 1)) == n, f"tick {failed} was tried")
            await beat.rest()
    assert [one.action for one in caplog.records if hasattr(one, "action")].count("tick_failed") == 2
    assert await actor.get() == 0
    Script.clear()
    beat.advance(1)
    await eventually(lambda: Probe.log.count(("tick", 1)) == 3, "it ticks again")
    await beat.rest()
    assert await actor.get() == 1


async def test_a_tick_emits_events(beat: Beat) -> None:
    """B15: a tick does what any turn does."""
    await beat.start()
    listener = Listener()
    assert beat.activation is not None
    beat.activation.stream.subscribers[listener.id] = listener
    beat.advance(1)
    await eventually(lambda: bool(listener.frames), "the event is out")
    assert '"name":"ticked","data":{"count":1}' in listener.frames[0]


@pytest.mark.parametrize("world", _backends()[:1], indirect=True)
async def test_a_ticking_actor_does_not_idle_out(world: World, clock: Late) -> None:
    """B38: nobody calls it for a day, and its tick is far away."""
    assert world.node is not None
    await ref(Comet, "halley").get()
    address = Address(registry.name_of(Comet), "halley")
    opened = world.node.find(address)
    for _ in range(24):
        clock.advance(3600)
        await asyncio.sleep(0)
    assert world.node.find(address) is opened


@pytest.mark.parametrize("world", _backends()[:1], indirect=True)
async def test_cadence_does_not_drift(clock: Late, world: World) -> None:
    """B15, B47: after ten seconds at 64 Hz not one frame is missing, though every alarm rings late."""
    frames = ref(Frames, "one")
    assert world.node is not None
    assert await frames.get() == 0
    activation = world.node.find(Address(registry.name_of(Frames), "one"))
    for n in range(1, 641):
        late = (0.25, 0.75, 0.5)[n % 3] / 64
        clock.move_to(1000 + n / 64 + late)
        await eventually(lambda: activation.quiet, "it ticked")
    assert await frames.get() == 640


async def test_late_ticks_are_not_made_up_for(clock: Late, beat: Beat) -> None:
    """B15: a loop that was held up for long ticks once, then keeps to its grid."""
    await beat.start()
    clock.move_to(1007.25)  # nothing rang meanwhile
    await beat.until(1)
    await beat.rest()
    beat.advance(0.5)
    await beat.rest()
    assert ticks() == [1]
    beat.advance(0.25)
    await beat.until(2)


@pytest.mark.parametrize("beat", _backends()[1:], indirect=True)
async def test_a_timer_begins_again_after_its_activation_was_replaced(beat: Beat) -> None:
    """B15, B38: nobody has to call the actor for that."""
    actor = await beat.start()
    first = beat.activation
    await beat.world.db(Metronome(pk=actor.key, count=40).save)
    await eventually(lambda: beat.activation is not first and beat.activation is not None, "it is replaced")
    await beat.rest()
    beat.advance(1)
    await beat.until(41)


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("beat", _backends()[1:], indirect=True)
async def test_a_timer_begins_again_after_an_outage(beat: Beat, queued: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """B15, B35: its activation was replaced, and a call has waited in vain for its row to be read again."""
    actor = await beat.start()
    first = beat.activation
    assert first is not None
    assert first.store is not None
    store = first.store.store
    with monkeypatch.context() as patch:
        patch.setattr(store, "load", lambda loads: [Down(OSError("connection refused"))] * len(loads))
        calls = [asyncio.ensure_future(actor.hold("g"))]
        await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
        if queued:
            calls.append(asyncio.ensure_future(actor.get()))
            await eventually(lambda: first.mailbox, "a call waits behind it")
        await beat.world.db(Metronome(pk=actor.key, count=40).save)
        Probe.gate("g").set()
        await eventually(lambda: beat.activation is not first and beat.activation is not None, "it is replaced")
        if not queued:
            calls.append(asyncio.ensure_future(actor.get()))
        await eventually(lambda: beat.activation is not None and beat.activation.mailbox, "a call waits")
        beat.advance(beat.node.settings.ACTIVATE_TIMEOUT + 1)
        with pytest.raises(Unavailable, match="could not be loaded"):
            await calls[-1]
        await asyncio.gather(*calls, return_exceptions=True)
    await beat.rest()
    beat.advance(1)
    await beat.until(41)


@pytest.mark.parametrize("beat", _backends()[1:], indirect=True)
async def test_a_timer_goes_on_where_its_actor_was_to_move_to_a_node_that_has_gone(beat: Beat) -> None:
    """B15, B38: nobody has to call the actor for that."""
    await beat.start()
    first = beat.activation
    beat.node.move(first, 1)  # known no more
    await eventually(lambda: beat.activation is not first and beat.activation is not None, "it comes back")
    await beat.rest()
    beat.advance(1)
    await beat.until(1)


@pytest.mark.parametrize("beat", _backends()[1:], indirect=True)
async def test_a_timer_does_not_bring_back_an_actor_whose_row_is_being_given_back(
    beat: Beat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B15, B31: it moves to another node, and somebody writes its row while it says good-bye."""
    actor = await beat.start()
    other = ref(Metronome, str((await beat.world.db(Metronome.objects.create)).pk))
    activation, written = beat.activation, threading.Event()
    assert activation is not None
    assert activation.store is not None
    store = activation.store.store
    commit = store.commit

    def slow(writes: Any) -> Any:
        written.wait(PATIENCE)
        return commit(writes)

    def change(found: Any) -> None:
        found.count += 1

    Script.deactivate = change
    monkeypatch.setattr(store, "commit", slow)
    beat.node.move(activation, 1)
    await eventually(lambda: len(activation.gate), "it says good-bye")
    await beat.world.db(lambda: Metronome.objects.filter(pk=actor.key).update(count=40))
    asking = asyncio.ensure_future(other.get())
    await eventually(lambda: activation.store._waiting, "another one is to be loaded")
    written.set()
    await asking
    await eventually(lambda: not len(beat.node.moves) and beat.node.idle, "its row is given back")
    row = await beat.world.db(Metronome.objects.get, pk=actor.key)
    assert (row.lightmoon_owner is None) == (beat.activation is None)


@pytest.mark.parametrize("beat", _backends()[1:], indirect=True)
async def test_a_tick_of_a_deleted_actor_ends_its_timer(beat: Beat) -> None:
    """B15: there is nothing left to tick."""
    actor = await beat.start()
    await beat.world.db(lambda: Metronome.objects.filter(pk=actor.key).delete())
    beat.advance(1.5)
    await eventually(lambda: beat.activation is None, "it is gone")


async def test_a_stuck_tick_is_abandoned_and_the_timer_goes_on(beat: Beat) -> None:
    """B15, B40: at the deadline of calls that name none."""
    await beat.start()

    async def stuck(self: Any) -> None:
        await asyncio.Event().wait()

    Script.tick = stuck
    beat.advance(1)
    await beat.until(1)
    Script.clear()
    beat.advance(40)
    await eventually(lambda: beat.activation is not None and beat.activation.running is None, "it is abandoned")
    await beat.rest()
    beat.advance(1)
    await eventually(lambda: len(ticks()) > 1, "it ticks again")


@pytest.mark.parametrize("world", _backends()[:1], indirect=True)
async def test_ticks_do_not_count_as_waiting_messages(clock: Late, world: World) -> None:
    """B53: the mailbox's limit is for messages."""
    actor = ref(Pendulum, "full")
    assert world.node is not None
    await actor.get()
    limit = world.node.settings.MAILBOX_LIMIT
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    clock.advance(1)
    activation = world.node.find(Address(registry.name_of(Pendulum), "full"))
    assert [type(call) for call in activation.mailbox] == [Tick]
    calls = [asyncio.ensure_future(actor.get()) for _ in range(limit)]
    await eventually(lambda: len(activation.mailbox) == limit + 1, "all of them wait")
    with pytest.raises(Overloaded, match="messages waiting"):
        await actor.get()
    Probe.gate("g").set()
    await asyncio.gather(holding, *calls)


async def test_nobody_can_send_a_tick(beat: Beat) -> None:
    """B15: it is no message; inside a turn it is a plain method."""
    actor = await beat.start()
    with pytest.raises(AttributeError, match="no message 'tick'"):
        _ = actor.tick
    schema = registry.schema_of(beat.cls)
    assert "tick" not in {**schema.messages, **schema.exposed}
    assert await actor.by_hand() == 1


async def test_a_stopping_node_stops_its_timers(beat: Beat) -> None:
    """B42: nothing ticks after it."""
    await beat.start()
    await host.shut_down(grace=2.0)
    beat.clock.advance(5)
    await asyncio.sleep(0)
    assert ticks() == []
    assert beat.clock.silent


async def test_a_stopping_actor_is_not_kept_by_its_timer(beat: Beat) -> None:
    """B42: no tick waits for a turn that the node waits for."""
    actor = await beat.start()
    holding = asyncio.ensure_future(actor.hold("g"))
    await eventually(lambda: ("holding", "g") in Probe.log, "it runs")
    stopping = asyncio.ensure_future(host.shut_down(grace=5.0))
    await asyncio.sleep(0)
    beat.advance(1)
    assert beat.node_mailboxes() == []
    Probe.gate("g").set()
    await asyncio.gather(holding, stopping)
    assert ticks() == []


def refused(declare: Any, *words: str) -> None:
    with pytest.raises(UsageError) as found:
        declare()
    assert all(word in str(found.value) for word in words), str(found.value)


def test_a_timer_that_can_not_work_is_refused_where_it_is_declared() -> None:
    """B66: with what to do instead."""

    def plain(self: Any) -> None: ...

    async def needy(self: Any, n: int) -> None: ...

    async def fine(self: Any) -> None: ...

    refused(lambda: every(1)(plain), "async def")  # type: ignore[arg-type]
    refused(lambda: every(1)(needy), "parameters")  # type: ignore[arg-type]
    refused(lambda: every(1)(message(fine)), "declared otherwise")  # type: ignore[arg-type]
    refused(lambda: message(every(1)(fine)), "timer")  # type: ignore[call-overload]
    for wrong in (0, -1, float("nan"), float("inf"), "1", True):
        refused(lambda wrong=wrong: every(wrong), "seconds")


def test_a_timer_s_name_is_kept_on_the_class() -> None:
    """B66: a decorated method is still found, with its docstring."""

    class Plain:
        @every(2)
        async def pulse(self) -> None:
            """Beat."""

    assert Plain.pulse.__doc__ == "Beat."
    assert Plain.pulse.period == 2.0
