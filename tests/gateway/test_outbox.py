"""A client that reads slowly, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lightmoon_django.actor import registry
from lightmoon_django.gateway import registry as live
from lightmoon_django.gateway.outbox import Outbox, UnpausedOutbox
from lightmoon_django.identity import Address
from tests.gateway.actors import Desk
from tests.gateway.board import Board
from tests.gateway.wire import Wire, eventually

DESK = registry.name_of(Desk)


class Owner:
    """Notes what the outbox says."""

    def __init__(self) -> None:
        self.overflows = 0
        self.dropped = False
        self.unsent: list[str] = []
        self.on_overflow: Callable[[], None] = lambda: None

    def overflowed(self) -> None:
        self.overflows += 1
        self.on_overflow()

    def drop(self) -> None:
        self.dropped = True

    def lost(self, outbox: Outbox, frames: list[Any]) -> None:
        self.unsent += [frame for frame, _ in frames]


class Socket:
    """Takes messages while it is open; `failure` is raised instead."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None

    async def send(self, message: Any) -> None:
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.append(message["text"])


def tasks() -> int:
    return len(asyncio.all_tasks())


async def test_a_frame_is_sent_at_once_and_without_a_task() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 100, owner)
    before = tasks()
    outbox.send("a")
    outbox.send("b", True)
    assert socket.taken == ["a", "b"]
    assert tasks() == before


async def test_frames_wait_in_order_while_the_socket_is_full() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 1000, owner)
    socket.open.clear()
    for number in range(10):
        outbox.send(str(number), number % 2 == 0)
    assert socket.taken == []
    assert outbox.waiting == 9
    socket.open.set()
    await eventually(lambda: len(socket.taken) == 10, "all frames")
    assert socket.taken == [str(number) for number in range(10)]
    assert outbox.waiting == 0
    outbox.send("next")
    assert socket.taken[-1] == "next"


async def test_overflow_drops_stream_frames_and_keeps_replies() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    owner.on_overflow = lambda: outbox.send("reset")
    socket.open.clear()
    outbox.send("first")
    outbox.send("reply")
    for _ in range(6):
        outbox.send("stream    ", True)
    assert (owner.overflows, owner.dropped) == (1, False)
    socket.open.set()
    await eventually(lambda: "reset" in socket.taken, "the reset")
    assert [frame for frame in socket.taken if not frame.startswith("stream")] == ["first", "reply", "reset"]


async def test_a_second_overflow_before_it_drained_gives_the_client_up() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    socket.open.clear()
    for _ in range(20):
        outbox.send("x" * 20, True)
    assert (owner.overflows, owner.dropped) == (1, True)
    assert outbox.closed
    assert outbox.waiting == 0


async def test_an_overflow_after_it_drained_is_a_first_one_again() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    for round in (1, 2):
        socket.open.clear()
        for _ in range(4):
            outbox.send("x" * 20, True)
        socket.open.set()
        await eventually(lambda: tasks() == 1, "the drain to end")
        assert (owner.overflows, owner.dropped) == (round, False)


async def test_replies_alone_can_overflow_too() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    socket.open.clear()
    for _ in range(10):
        outbox.send("x" * 20)
    assert owner.dropped


async def test_one_reply_larger_than_the_outbox_can_wait() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    socket.open.clear()
    outbox.send("first")
    outbox.send("x" * 500)
    assert not owner.dropped
    socket.open.set()
    await eventually(lambda: len(socket.taken) == 2, "the large reply")


@pytest.mark.parametrize("suspended", [False, True])
async def test_a_failing_send_ends_the_outbox_quietly(suspended: bool) -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    socket.failure = OSError("gone")
    if suspended:
        socket.open.clear()
    outbox.send("a")
    outbox.send("b")
    socket.open.set()
    await eventually(lambda: outbox.closed and tasks() == 1, "the outbox to close")
    outbox.send("c")
    assert socket.taken == []
    assert not owner.dropped
    assert owner.unsent == (["a", "b"] if suspended else ["a"])


async def test_closing_takes_back_what_is_being_sent() -> None:
    socket, owner = Socket(), Owner()
    outbox = Outbox(socket.send, 50, owner)
    socket.open.clear()
    outbox.send("a")
    outbox.close()
    await eventually(lambda: tasks() == 1, "the task to end")
    assert socket.taken == []


async def test_a_send_that_only_yields_is_carried_on() -> None:
    taken: list[str] = []

    async def send(message: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        taken.append(message["text"])

    outbox = Outbox(send, 50, Owner())
    outbox.send("a")
    outbox.send("b")
    await eventually(lambda: taken == ["a", "b"], "both frames")


async def test_an_error_inside_a_suspended_send_can_be_handled_there() -> None:
    taken: list[str] = []
    failing: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        try:
            await failing
        except ValueError:
            await asyncio.sleep(0)
        taken.append(message["text"])

    outbox = Outbox(send, 50, Owner())
    outbox.send("a")
    failing.set_exception(ValueError())
    await eventually(lambda: taken == ["a"], "the frame")


async def test_a_server_that_never_pauses_is_watched() -> None:
    """B59: Daphne queues without a bound; what it holds counts."""
    socket, owner = Socket(), Owner()
    held = 0
    outbox = UnpausedOutbox(socket.send, 50, owner, lambda: held)
    owner.on_overflow = lambda: outbox.send("reset")
    outbox.send("a", True)
    held = 51
    outbox.send("b", True)
    assert socket.taken == ["a", "reset"]
    outbox.send("reply")
    assert socket.taken == ["a", "reset", "reply"]
    held = 0
    outbox.send("c", True)
    assert socket.taken[-1] == "c"
    assert not owner.dropped
    held = 101
    outbox.send("reply")
    assert owner.dropped


async def test_a_client_that_stops_reading_is_reset_then_dropped(settle_board: Callable[..., Board]) -> None:
    """B59: its memory is freed, and others go on."""
    board = settle_board(OUTBOX_BYTES=10_000)
    async with Wire() as slow, Wire() as quick:
        for wire in (slow, quick):
            await wire.call("lm.subscribe", [DESK, "1"])
            await wire.call("lm.subscribe", [DESK, "2"])
        slow.flowing.clear()
        for seq in range(1, 20):
            board.publish(DESK, "1", seq, "x" * 1000)
        assert len(board.subscribers[Address(DESK, "1")]) == 1
        assert len(board.subscribers[Address(DESK, "2")]) == 1
        slow.flowing.set()
        assert await slow.notified("lm.reset") == {"actor": DESK, "key": "1", "reason": "overflow"}
        assert await slow.notified("lm.reset") == {"actor": DESK, "key": "2", "reason": "overflow"}
        assert len([one for one in slow.frames if one["method"] == "lm.event"]) == 1  # the one that was on its way

        assert await slow.call("lm.subscribe", [DESK, "1"])
        slow.flowing.clear()
        for seq in range(20, 50):
            board.publish(DESK, "1", seq, "x" * 1000)
            slow.ask(f"{DESK}.large", ["1", 5000])
        await eventually(lambda: slow.task is not None and slow.task.done(), "the slow client to be dropped")
        assert len(live.sessions()) == 1

        frames = [one["params"]["seq"] for one in quick.frames]
        assert frames == list(range(1, 50))


async def test_the_code_says_that_it_may_come_again(settle_board: Callable[..., Board]) -> None:
    """B59: 1013, where the socket still takes it."""
    settle_board()
    async with Wire() as wire:
        (session,) = live.sessions()
        session.drop()
        await eventually(lambda: wire.closed, "the close")
        assert wire.closed == 1013
    assert live.sessions() == ()
