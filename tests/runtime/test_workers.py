"""The pool of worker threads by itself: what counts towards its limit, and what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lightmoon_django.errors import Overloaded
from lightmoon_django.runtime.workers import HARD_FACTOR, Workers, blocked

PATIENCE = 10.0  # seconds


class Pool:
    """A pool whose `done` is called in the worker itself."""

    def __init__(self, limit: int) -> None:
        self.closed: list[str] = []
        self.workers = Workers(
            limit, lambda done, result: done(result), lambda: self.closed.append(threading.current_thread().name)
        )
        self.results: list[Any] = []
        self.go = threading.Event()

    def submit(self, run: Callable[[], Any]) -> Any:
        return self.workers.submit(run, self.results.append)

    def hold(self, count: int, *, waiting: bool = False) -> list[Any]:
        """Jobs that have begun and end when `go` is set; with `waiting`, as in an ask."""
        begun = threading.Semaphore(0)

        def run() -> str:
            with blocked() if waiting else threading.Lock():
                begun.release()
                self.go.wait(PATIENCE)
            return "held"

        jobs = [self.submit(run) for _ in range(count)]
        for _ in jobs:
            assert begun.acquire(timeout=PATIENCE), "a job did not begin"
        return jobs

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"{what}: {self.workers._counts} {self.results}"
            time.sleep(0.001)

    def is_idle_for(self, seconds: float) -> bool:
        """No result comes."""
        before = len(self.results)
        time.sleep(seconds)
        return len(self.results) == before


@pytest.fixture
def pool() -> Iterator[Pool]:
    found = Pool(2)
    yield found
    found.go.set()
    found.workers.stop()


def test_no_more_jobs_than_the_limit_run_at_once(pool: Pool) -> None:
    """B17."""
    pool.hold(2)
    pool.submit(lambda: "third")
    assert pool.is_idle_for(0.05)
    pool.go.set()
    pool.until(lambda: len(pool.results) == 3, "the third one ran")


def test_a_thread_that_waits_for_an_actor_does_not_count(pool: Pool) -> None:
    """B81, 9.14."""
    pool.hold(5, waiting=True)
    pool.submit(lambda: "next")
    pool.until(lambda: pool.results == ["next"], "the next one ran")


def test_an_abandoned_thread_does_not_count(pool: Pool) -> None:
    """B40, 9.14: otherwise as many stuck turns as there are threads would end all `def` messages of the node."""
    for job in pool.hold(2):
        job.abandon()
    pool.submit(lambda: "next")
    pool.until(lambda: pool.results == ["next"], "the next one ran")


def test_an_abandoned_thread_that_waits_and_comes_back_still_does_not_count(pool: Pool) -> None:
    """9.14: its ask ends, its handler needn't."""
    for job in pool.hold(2, waiting=True):
        job.abandon()
    pool.hold(2)
    pool.submit(lambda: "next")
    assert pool.is_idle_for(0.05)


def test_an_abandoned_job_that_waits_for_a_thread_never_begins(pool: Pool) -> None:
    """B52: and nobody hears of it."""
    pool.hold(2)
    pool.submit(lambda: "third").abandon()
    pool.go.set()
    pool.until(lambda: len(pool.results) == 2, "the two are done")
    assert pool.is_idle_for(0.05)


def test_when_all_threads_wait_or_are_stuck_jobs_are_refused(pool: Pool) -> None:
    """9.14: at a hard cap, those in the queue too, because no thread comes free by itself."""
    cap = 2 * HARD_FACTOR
    for job in pool.hold(cap // 2, waiting=True):
        job.abandon()
    pool.hold(cap // 2 - 1, waiting=True)
    pool.hold(1)
    pool.submit(lambda: "queued")
    assert pool.is_idle_for(0.05)

    other = Pool(1)
    other.hold(HARD_FACTOR, waiting=True)
    other.submit(lambda: "late")
    assert [type(result) for result in other.results] == [Overloaded]
    assert other.results[0].retry_after
    other.go.set()
    other.until(lambda: len(other.results) == HARD_FACTOR + 1, "all came back")
    other.submit(lambda: "again")
    other.until(lambda: other.results[-1] == "again", "it works again")
    other.workers.stop()


def test_a_queue_of_jobs_that_all_ask_does_not_pass_the_cap() -> None:
    """9.14: each that begins to wait makes room for the next only up to there; then the rest is refused."""
    pool = Pool(1)

    def run() -> str:
        with blocked():
            pool.go.wait(PATIENCE)
        return "ran"

    for _ in range(40):
        pool.submit(run)
    pool.until(lambda: len(pool.results) == 40 - HARD_FACTOR, "those beyond the cap are refused")
    assert pool.workers._counts.total() == HARD_FACTOR
    assert {type(result) for result in pool.results} == {Overloaded}
    pool.go.set()
    pool.until(lambda: len(pool.results) == 40, "the others ran")
    pool.workers.stop()


def test_threads_that_are_back_from_waiting_end_when_they_are_too_many(pool: Pool) -> None:
    """B17: the limit holds again afterwards, also under load."""
    pool.hold(6, waiting=True)
    pool.go.set()
    pool.until(lambda: len(pool.results) == 6, "they are done")
    pool.until(lambda: pool.workers._counts.total() <= 2, "the surplus ended")
    assert len(pool.closed) == 4


def test_stopping_waits_until_idle_threads_have_closed_their_connections(pool: Pool) -> None:
    for _ in range(4):
        pool.submit(lambda: "done")
    pool.until(lambda: len(pool.results) == 4, "they are done")
    threads = len(pool.workers._alive)
    pool.workers.stop()
    assert len(pool.closed) == threads
    assert not pool.workers._alive


def test_a_job_that_raises_hands_its_error_on(pool: Pool) -> None:
    pool.submit(lambda: 1 / 0)
    pool.until(lambda: [type(result) for result in pool.results] == [ZeroDivisionError], "the error came")
