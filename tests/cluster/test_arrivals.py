"""What arrives of other nodes while a user is being loaded: who waits, in which order, and how much of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lightmoon_django.cluster import arrivals as module
from lightmoon_django.cluster.arrivals import WEIGHT, Arrivals
from lightmoon_django.cluster.users import Users
from lightmoon_django.errors import DeadlineExceeded, LightMoonError, Overloaded, Unavailable
from lightmoon_django.messages import Cancel, Described, Follow, Frame, Hello, Remote, Unfollow
from lightmoon_django.testing.clock import ManualClock

SENDER, OTHER = 7, 8
SECONDS = 30.0


class Desk:
    """Arrivals, with users that are there when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.handled: list[tuple[int, Frame, Any]] = []
        self.refused: list[tuple[int, int, LightMoonError]] = []
        self.asked: list[str] = []
        self._answers: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.arrivals = Arrivals(
            Users(lambda key: key, self._run, self.clock),
            self.clock,
            lambda *found: self.handled.append(found),
            lambda *found: self.refused.append(found),
        )

    def _run(self, job: Any) -> asyncio.Future[Any]:
        async def load() -> Any:
            self.asked.append(job())
            error = await self._answers.get()
            if error is not None:
                raise error
            return job()

        return asyncio.ensure_future(load())

    async def answer(self, error: Exception | None = None) -> None:
        """The database answers once."""
        self._answers.put_nowait(error)
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def ids(self) -> list[int]:
        return [frame.id for _, frame, _ in self.handled if isinstance(frame, (Remote, Cancel))]


def call(id: int, key: str, user: str | None = None, size: int = 0, seconds: float = SECONDS) -> Remote:
    return Remote(id, "live.Scratch", key, "add", bytes(size), "local", seconds, None, user, (), None, 1, 0)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    found = Desk()
    yield found
    found.arrivals.stop()
    await asyncio.sleep(0)


async def test_only_frames_to_the_same_actor_wait_for_a_user(desk: Desk) -> None:
    """B9: what one sender sends to one actor keeps its order; a database that is silent holds nothing else up."""
    take = desk.arrivals.take
    take(SENDER, call(1, "a", "ann"))
    take(SENDER, call(2, "a"))
    take(SENDER, call(3, "b"))
    take(OTHER, call(4, "a"))
    take(SENDER, Hello())
    assert desk.ids == [3, 4]
    assert desk.handled[-1][1] == Hello()
    await desk.answer()
    assert desk.ids == [3, 4, 1, 2]
    assert [user for *_, user in desk.handled[-2:]] == ["ann", None]
    take(SENDER, call(5, "a", "ann"))
    assert desk.ids[-1] == 5


async def test_each_of_several_users_is_waited_for_in_turn(desk: Desk) -> None:
    for id, user in enumerate(["ann", "bob", "ann", None, "bob"]):
        desk.arrivals.take(SENDER, call(id, "a", user))
    await desk.answer()
    assert desk.ids == [0]
    await desk.answer()
    assert desk.ids == [0, 1, 2, 3, 4]
    assert desk.asked == ["ann", "bob"]


async def test_a_user_is_loaded_once_for_all_actors(desk: Desk) -> None:
    for id in range(5):
        desk.arrivals.take(SENDER, call(id, str(id), "ann"))
    await desk.answer()
    assert sorted(desk.ids) == [0, 1, 2, 3, 4]
    assert desk.asked == ["ann"]


async def test_what_concerns_a_waiting_call_waits_behind_it(desk: Desk) -> None:
    """Its cancellation would else find no call, and the end of a subscription no subscription."""
    take = desk.arrivals.take
    behind = [Unfollow("live.Scratch", "a", "s1", None), Described("live.Scratch", "a", "s2", {})]
    take(SENDER, Follow(call(1, "a", "ann"), None, False))
    for frame in behind:
        take(SENDER, frame)
    take(SENDER, call(2, "b", "ann"))
    take(SENDER, Cancel(2))
    take(SENDER, Cancel(9))
    assert desk.ids == [9]
    await desk.answer()
    assert [frame for _, frame, _ in desk.handled[2:4]] == behind
    assert desk.ids == [9, 2, 2]


async def test_calls_that_find_no_room_to_wait_are_overloaded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """B53: what waits is bounded in bytes, and who is refused hears of it. One call may be as large as it likes."""
    monkeypatch.setattr(module, "MOST_HELD", 10_000)
    take = desk.arrivals.take
    take(SENDER, call(0, "large", "ann", size=20_000))
    take(SENDER, call(1, "large"))
    take(SENDER, call(2, "other", "ann"))
    take(SENDER, call(3, "other"))  # which has nobody to wait for
    assert [(sender, id, type(error)) for sender, id, error in desk.refused] == [
        (SENDER, 1, Overloaded),
        (SENDER, 2, Overloaded),
    ]
    assert desk.ids == [3]
    for n in range(50):
        take(SENDER, Described("live.Scratch", "large", "s", {"n": n}))
    await desk.answer()
    assert desk.ids == [3, 0]
    assert [frame.meta["n"] for _, frame, _ in desk.handled if isinstance(frame, Described)] == [49]
    desk.clock.advance(60.0)
    for id in range(10, 40):
        take(SENDER, call(id, "a", "ann"))
    assert len(desk.refused) == 2 + 30 - 10_000 // WEIGHT
    await desk.answer()
    assert desk.arrivals._weight == 0


async def test_an_expired_call_does_not_run_and_the_others_get_what_is_left_of_their_time(desk: Desk) -> None:
    """B52: by its deadline its caller has an answer."""
    desk.arrivals.take(SENDER, call(1, "a", "ann", seconds=2.0))
    desk.arrivals.take(SENDER, call(2, "a", "ann"))
    desk.clock.advance(4.0)
    await desk.answer()
    assert [(id, type(error)) for _, id, error in desk.refused] == [(1, DeadlineExceeded)]
    [(_, frame, user)] = desk.handled
    assert isinstance(frame, Remote)
    assert (frame.id, frame.seconds, user) == (2, pytest.approx(SECONDS - 4.0), "ann")


async def test_a_user_who_can_t_be_loaded_costs_that_call_alone(desk: Desk) -> None:
    take = desk.arrivals.take
    take(SENDER, call(1, "a", "ann"))
    take(SENDER, Unfollow("live.Scratch", "a", "s1", "bob"))
    take(SENDER, call(2, "a"))
    await desk.answer(OSError("The database is silent."))
    assert [(id, type(error)) for _, id, error in desk.refused] == [(1, Unavailable)]
    await desk.answer(OSError("The database is silent."))
    assert [user for *_, user in desk.handled] == [None, None]  # the end of a subscription is never lost
    assert desk.ids == [2]


async def test_what_waits_of_a_dead_node_counts_no_more(desk: Desk) -> None:
    desk.arrivals.take(SENDER, call(1, "a", "ann"))
    desk.arrivals.take(SENDER, call(2, "a"))
    desk.arrivals.take(OTHER, call(3, "a", "ann"))
    desk.arrivals.died(SENDER)
    await desk.answer()
    assert desk.ids == [3]
    assert (desk.arrivals._weight, desk.arrivals.held, desk.arrivals._calls) == (0, {}, {})
