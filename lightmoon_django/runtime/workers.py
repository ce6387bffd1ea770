"""Worker threads for `def` messages and for commits that pass through Django's own save.

The limit is on threads that get something done. One that waits for another actor doesn't count, so that chains of
`def` messages that ask each other finish; nor does one whose job nobody waits for any more, so that handlers that
never come back don't use the limit up. Both may only be so many: beyond a hard cap jobs are answered `Overloaded`.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from lightmoon_django.errors import Overloaded

Run = Callable[[], Any]
Done = Callable[[Any], None]

HARD_FACTOR = 8  # threads may be this many times the limit when all the others wait or are stuck

STOP_GRACE = 1.0  # seconds that stopping waits for threads to end

_thread = threading.local()


class Abandonable(Protocol):
    """A job on its way."""

    def abandon(self) -> None:
        """Nobody waits for it any more. Where it hasn't begun, it never does, and `done` isn't called."""


class WorkerPool(Protocol):
    """Runs blocking jobs. Implemented by `Workers`, and under a test runner by the test's own thread."""

    def submit(self, run: Run, done: Done) -> Abandonable: ...

    def stop(self) -> None: ...


class WorkerState(enum.Enum):
    """What a thread is doing. The first two count towards the limit."""

    IDLE = "it waits for a job"
    WORKING = "it runs a job"
    WAITING = "its job waits for another actor"
    ABANDONED = "its job is past its deadline and has not come back"


class Job:
    """One job of a pool."""

    __slots__ = ("_pool", "done", "run", "worker")

    def __init__(self, pool: Workers, run: Run, done: Done) -> None:
        self._pool = pool
        self.run = run
        self.done = done
        self.worker: Worker | None = None

    def abandon(self) -> None:
        self._pool.abandon(self)


class Worker(threading.Thread):
    """One thread of a pool."""

    def __init__(self, pool: Workers) -> None:
        super().__init__(name="lightmoon-worker", daemon=True)
        self.state = WorkerState.IDLE
        self._pool = pool

    def run(self) -> None:
        _thread.worker = self
        self._pool.serve(self)

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Its job waits for somebody else meanwhile."""
        self._pool.change(self, WorkerState.WORKING, WorkerState.WAITING)
        try:
            yield
        finally:
            self._pool.change(self, WorkerState.WAITING, WorkerState.WORKING)


class Workers:
    """At most `limit` jobs get on at once."""

    def __init__(
        self,
        limit: int,
        call_soon: Callable[..., object],
        close: Callable[[], None],
        tidy: Callable[[], None] = lambda: None,
    ) -> None:
        """`close` is called in each thread as it ends, `tidy` before and after each job: for database connections."""
        self._limit = limit
        self._cap = limit * HARD_FACTOR
        self._call_soon = call_soon
        self._close = close
        self._tidy = tidy
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._jobs: collections.deque[Job] = collections.deque()
        self._counts: collections.Counter[WorkerState] = collections.Counter()
        self._alive: set[Worker] = set()
        self._stopped = False

    def submit(self, run: Run, done: Done) -> Job:
        """Run it in a thread, then `done(result)` or `done(exception)` on the loop."""
        job = Job(self, run, done)
        with self._lock:
            self._jobs.append(job)
            self._staff()
        return job

    def abandon(self, job: Job) -> None:
        """Take a job back that hasn't begun; don't count the thread of one that has."""
        with self._lock:
            if job.worker is None:
                with contextlib.suppress(ValueError):
                    self._jobs.remove(job)
            elif job.worker.state is not WorkerState.IDLE:
                self._move(job.worker, WorkerState.ABANDONED)
                self._staff()

    def change(self, worker: Worker, before: WorkerState, after: WorkerState) -> None:
        """A thread's job begins or ends to wait. An abandoned one stays so."""
        with self._lock:
            if worker.state is before:
                self._move(worker, after)
                self._staff()

    def stop(self) -> None:
        """Let threads end, and wait for them a little. Those that work end after their job."""
        with self._lock:
            self._stopped = True
            self._work.notify_all()
            ending = [one for one in self._alive if one.state in (WorkerState.IDLE, WorkerState.WORKING)]
        until = time.monotonic() + STOP_GRACE
        for worker in ending:
            worker.join(max(0.0, until - time.monotonic()))

    def serve(self, worker: Worker) -> None:
        """The life of one thread."""
        while (job := self._next(worker)) is not None:
            result = self._run(job.run)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._call_soon(job.done, result)
            with self._lock:
                job.worker = None
                self._move(worker, WorkerState.IDLE)
        self._close()
        with self._lock:
            self._alive.discard(worker)

    def _run(self, run: Run) -> Any:
        try:
            self._tidy()
            try:
                return run()
            finally:
                self._tidy()
        except BaseException as error:
            return error

    def _next(self, worker: Worker) -> Job | None:
        """The next job; None when this thread is one too many, as those that waited are back."""
        with self._lock:
            while self._at_work <= self._limit:
                if self._jobs:
                    job = self._jobs.popleft()
                    job.worker = worker
                    self._move(worker, WorkerState.WORKING)
                    return job
                if self._stopped:
                    break
                self._work.wait()
            self._counts[worker.state] -= 1
            self._work.notify(len(self._jobs))  # it may have been woken in another's place
            return None

    def _staff(self) -> None:
        """Wake or start threads for waiting jobs. Refuse the jobs where all threads wait or are stuck."""
        self._work.notify(len(self._jobs))
        while (
            len(self._jobs) > self._counts[WorkerState.IDLE]
            and self._at_work < self._limit
            and self._counts.total() < self._cap
        ):
            worker = Worker(self)
            self._counts[WorkerState.IDLE] += 1
            self._alive.add(worker)
            worker.start()
        if self._jobs and not self._at_work:
            self._refuse()

    def _refuse(self) -> None:
        jobs = list(self._jobs)
        self._jobs.clear()
        for job in jobs:
            error = Overloaded(
                f"All {self._cap} worker threads wait for other actors or are stuck past their deadlines.",
                retry_after=1.0,
            )
            with contextlib.suppress(RuntimeError):
                self._call_soon(job.done, error)

    @property
    def _at_work(self) -> int:
        """The threads that count."""
        return self._counts[WorkerState.IDLE] + self._counts[WorkerState.WORKING]

    def _move(self, worker: Worker, state: WorkerState) -> None:
        self._counts[worker.state] -= 1
        worker.state = state
        self._counts[state] += 1


def blocked() -> contextlib.AbstractContextManager[None]:
    """Within it the calling thread waits for an actor: if it is a worker, another may take its place."""
    worker: Worker | None = getattr(_thread, "worker", None)
    return worker.blocked() if worker is not None else contextlib.nullcontext()
