"""Between the event loop and a store: groups what comes up in one pass of the loop, and hands it to the store's thread.

One group is in the database at a time. While it is there, the next one gathers; so the busier the store, the larger
its groups, which is what makes group commit cheap (prior art: PostgreSQL's own commit_delay, and every database log).
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from lightmoon_django.persistence.records import Answer, Find
from lightmoon_django.persistence.store import (
    Barrier,
    CommitOutcome,
    Down,
    Failed,
    Load,
    LoadOutcome,
    Locked,
    Store,
    Unsettled,
    Write,
)

logger = logging.getLogger("lightmoon")

GROUP_LIMIT = 2000  # requests in one group, so that one transaction stays short
RETRY_FIRST = 0.02  # seconds until a locked row or an absent database is tried again, doubling
RETRY_LONGEST = 1.0  # seconds

Job = Callable[[], Any]
Done = Callable[[Any], None]
T = TypeVar("T")


class Executor(Protocol):
    """Runs jobs one after another where their database connection lives."""

    def submit(self, job: Job, done: Done) -> object:
        """Run `job` there; then `done(result)`, or `done(exception)`, on the event loop."""

    def stop(self) -> None:
        """End after what was submitted."""


class StoreThread:
    """The one thread of a store."""

    def __init__(
        self,
        name: str,
        call_soon: Callable[..., object],
        close: Callable[[], None],
        hang_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`close` ends its connection, in the thread; `hang_up` breaks it, from any."""
        self._busy_since = math.inf
        self._hang_up = hang_up
        self._jobs: queue.SimpleQueue[tuple[Job, Done] | None] = queue.SimpleQueue()
        self._call_soon = call_soon
        self._close = close
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Job, done: Done) -> None:
        self._jobs.put((job, done))

    def lend(self, job: Callable[[], T], patience: float) -> T | None:
        """Run a job there for another thread, which waits. None after `patience` seconds, or where it fails."""
        found: list[T] = []
        ended = threading.Event()

        def run() -> None:
            try:
                found.append(job())
            except Exception:
                logger.info("A job failed in the store's thread.", exc_info=True, extra={"action": "lent_job_failed"})
            finally:
                ended.set()

        self._jobs.put((run, lambda _: None))
        ended.wait(patience)
        return found[0] if found else None

    def stop(self) -> None:
        self._jobs.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=10.0)  # seconds; a database that hangs must not hold up the exit

    def break_off(self, longest: float) -> None:
        """Break the connection if a job has waited for the database for longer than that. From any thread."""
        if time.monotonic() - self._busy_since > longest:
            logger.warning("The database has gone silent.", extra={"action": "store_silent"})
            self._hang_up()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            self._busy_since = time.monotonic()
            try:
                result = job()
            except Exception as error:
                result = error
            self._busy_since = math.inf
            try:
                self._call_soon(done, result)
            except RuntimeError:  # the loop is closed: nobody waits any more
                break
        self._close()


class Request(Protocol):
    """Something that is asked of a store."""

    tries: int  # so far

    @property
    def item(self) -> Load | Write | Find:
        """What is asked."""

    def take(self) -> None:
        """It leaves for the store's thread. Called on the loop, each time."""

    def wanted(self) -> bool:
        """Whether another try is worth while."""

    def done(self, outcome: Any) -> None:
        """What became of it, on the loop."""


class _Question:
    """A load or find, with the way its outcome takes back."""

    __slots__ = ("done", "item", "take", "tries", "wanted")

    def __init__(
        self,
        item: Load | Find,
        done: Callable[[Any], None],
        wanted: Callable[[], bool] | None,
        take: Callable[[], None] | None = None,
    ) -> None:
        self.item = item
        self.done = done
        self.wanted = wanted or _always
        self.take = take or _nothing
        self.tries = 0


def _nothing() -> None:
    pass


def _always() -> bool:
    return True


def _subject(request: Request) -> str:
    item = request.item
    return "An answer" if isinstance(item, Find) else f"{item.schema.name}:{item.key}"


class StoreQueue:
    """One store, as the event loop sees it. All methods are called on the loop."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        call_soon: Callable[..., object],
        call_later: Callable[[float, Callable[[], None]], object],
        trusted: Callable[[], bool] = lambda: True,
    ) -> None:
        """`trusted` tells whether the rows that this node owns there are still its own for certain."""
        self.store = store
        self.trusted = trusted
        self._executor = executor
        self._call_soon = call_soon
        self._call_later = call_later
        self._pause = getattr(store, "pause_after_commit", 0.0)
        self._resting_until = 0.0
        self._waiting: list[Request] = []
        self._queries: deque[tuple[Job, Done]] = deque()
        self._query_next = True  # whose turn it is when both a group and a query wait
        self._busy = False
        self._scheduled = False

    def load(
        self,
        load: Load,
        done: Callable[[LoadOutcome], None],
        wanted: Callable[[], bool] | None = None,
        take: Callable[[], None] | None = None,
    ) -> None:
        """Claim and read. A locked row is tried again, as long as it is `wanted`, until `done` hears something else.

        `take` is told each time that it leaves for the store's thread.
        """
        self._add(_Question(load, done, wanted, take))

    def commit(self, request: Request) -> None:
        """Store its `Write`. Locked rows and an absent database are tried again, apart from everybody else's writes."""
        self._add(request)

    def find(
        self, find: Find, done: Callable[[Answer | Failed | None], None], wanted: Callable[[], bool] | None = None
    ) -> None:
        """Look an answer up. Sees all writes that were queued before it.

        While the database is away it is tried again, as long as it is `wanted`.
        """
        self._add(_Question(find, done, wanted))

    def query(self, job: Callable[[Store], T], done: Callable[[T | Exception], None]) -> None:
        """Run a job in the store's thread. One goes between two groups, so that many of them hold no group up.

        Not tried again: `done` is told of a database that is away by the exception.
        """
        self._queries.append((lambda: job(self.store), done))
        self._schedule()

    def disown(self, keys: list[Any], done: Callable[[Any], None]) -> None:
        self._executor.submit(lambda: self.store.disown(keys), done)

    def transact(self, barrier: Barrier) -> CommitOutcome:
        """Passed through to the store, for the worker thread that runs the barrier turn."""
        return self.store.transact(barrier)

    def stop(self) -> None:
        self._executor.stop()

    def discard(self) -> None:
        """What has not left for the store yet never does: its callers are told so."""
        self._waiting.clear()

    @property
    def idle(self) -> bool:
        return not self._busy and not self._waiting and not self._queries

    def _add(self, request: Request) -> None:
        self._waiting.append(request)
        self._schedule()

    def _schedule(self) -> None:
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy:
            return
        if self._queries and (self._query_next or not self._waiting):
            self._send_query()
        elif self._waiting:
            self._send_group()

    def _send_query(self) -> None:
        self._query_next = False
        self._busy = True
        job, done = self._queries.popleft()
        self._executor.submit(job, lambda result: self._answered(done, result))

    def _send_group(self) -> None:
        self._query_next = True
        group, self._waiting = self._waiting[:GROUP_LIMIT], self._waiting[GROUP_LIMIT:]
        self._busy = True
        loads = [request for request in group if type(request.item) is Load]
        writes = [request for request in group if type(request.item) is Write]
        finds = [request for request in group if type(request.item) is Find]
        for request in (*loads, *writes):
            request.take()
        self._executor.submit(
            lambda: self._run(loads, writes, finds),
            lambda outcomes: self._finished(loads + writes + finds, outcomes),
        )

    def _run(self, loads: list[Request], writes: list[Request], finds: list[Request]) -> list[Any]:
        """In the store's thread."""
        outcomes: list[Any] = []
        if writes and self._pause:
            self._rest()
        if loads:
            outcomes += self._guarded(self.store.load, loads, Down)
        if writes:
            outcomes += self._guarded(self.store.commit, writes, Unsettled)
        if finds:
            outcomes += self._guarded(self.store.find, finds, Down)
        if writes and self._pause:
            self._resting_until = time.monotonic() + self._pause
        return outcomes

    def _rest(self) -> None:
        """Let ordinary writers have the file's lock between two groups. Mostly the loop has taken that long anyway."""
        left = self._resting_until - time.monotonic()
        if left > 0:
            time.sleep(left)

    def _guarded(self, run: Callable[[Any], list[Any]], requests: list[Request], broken: type) -> list[Any]:
        try:
            return run([request.item for request in requests])
        except Exception as error:  # a store reports failures as outcomes; this one is a defect
            logger.exception("The store failed unexpectedly.", extra={"action": "store_defect"})
            return [Failed(error) if broken is Down else broken(error)] * len(requests)

    def _finished(self, group: list[Request], outcomes: Any) -> None:
        self._free()
        if isinstance(outcomes, BaseException):
            outcomes = [Unsettled(RuntimeError(str(outcomes)))] * len(group)
        for request, outcome in zip(group, outcomes, strict=True):
            if type(outcome) is Locked or type(outcome) is Down:
                self._retry(request, outcome)
                continue
            try:
                request.done(outcome)
            except Exception:  # a defect of ours: the others of the group must hear of theirs
                logger.exception("An outcome could not be taken in.", extra={"action": "outcome_defect"})

    def _free(self) -> None:
        self._busy = False
        if self._waiting or self._queries:
            self._schedule()

    def _answered(self, done: Done, result: Any) -> None:
        self._free()
        try:
            done(result)
        except Exception:  # a defect of ours, and nobody else's business
            logger.exception("A query's result could not be taken in.", extra={"action": "outcome_defect"})

    def _retry(self, request: Request, outcome: Locked | Down) -> None:
        if not request.wanted():
            return  # its callers were answered meanwhile; during a long outage there would be ever more of them
        delay = min(RETRY_FIRST * 2 ** min(request.tries, 16), RETRY_LONGEST)
        if request.tries == 0:
            logger.info(
                "%s waits: %s",
                _subject(request),
                "its row can't be had now" if type(outcome) is Locked else "the database is away",
                extra={"action": "store_retry"},
            )
        request.tries += 1
        self._call_later(delay, lambda: self._add(request))
