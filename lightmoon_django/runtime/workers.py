"""Worker threads for `def` messages and for commits that pass through Django's own save."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from lightmoon_django.errors import Overloaded

Job = Callable[[], Any]
Done = Callable[[Any], None]

BLOCKED_FACTOR = 8  # threads may be this many times the limit when all the others wait in an ask

STOP_GRACE = 1.0  # seconds that stopping waits for idle threads

_thread = threading.local()


class WorkerPool(Protocol):
    """Runs blocking jobs. Implemented by `Workers`, and under a test runner by the test's own thread."""

    def submit(self, job: Job, done: Done) -> None: ...

    def stop(self) -> None: ...


class Workers:
    """At most `limit` jobs run at once; one that waits in an ask doesn't count, so that chains of them finish."""

    def __init__(self, limit: int, call_soon: Callable[..., object], close: Callable[[], None]) -> None:
        """`close` is called in each thread as it ends, to let go of its database connections."""
        self._limit = limit
        self._close = close
        self._call_soon = call_soon
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._jobs: deque[tuple[Job, Done]] = deque()
        self._threads = 0
        self._idle = 0
        self._blocked = 0
        self._stopped = False

    def submit(self, job: Job, done: Done) -> None:
        """Run `job` in a thread, then `done(result)` or `done(exception)` on the loop."""
        with self._lock:
            if self._threads >= self._limit * BLOCKED_FACTOR and not self._idle:
                error = Overloaded("All worker threads wait for other actors.", retry_after=1.0)
                self._call_soon(done, error)
                return
            self._jobs.append((job, done))
            self._staff()

    def stop(self) -> None:
        """Let idle threads end, and wait for them. Those that work end after their job."""
        with self._lock:
            self._stopped = True
            self._work.notify_all()
            idle = self._idle
        until = time.monotonic() + STOP_GRACE
        while idle and self._threads and time.monotonic() < until:
            time.sleep(0.001)
            idle = self._idle

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """The calling worker waits for somebody else meanwhile."""
        with self._lock:
            self._blocked += 1
            self._staff()
        try:
            yield
        finally:
            with self._lock:
                self._blocked -= 1

    def _staff(self) -> None:
        """Wake or start a thread for a waiting job, within the limit. Called with the lock."""
        self._work.notify(len(self._jobs))
        working = self._threads - self._blocked
        if len(self._jobs) > self._idle and working < self._limit:
            self._threads += 1
            threading.Thread(target=self._run, name="lightmoon-worker", daemon=True).start()

    def _run(self) -> None:
        _thread.pool = self
        while (item := self._next()) is not None:
            job, done = item
            try:
                result = job()
            except BaseException as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._call_soon(done, result)
        self._close()

    def _next(self) -> tuple[Job, Done] | None:
        """The next job; None when this thread is one too many, as those that were blocked are back."""
        with self._lock:
            while not self._jobs:
                if self._stopped or self._threads - self._blocked > self._limit:
                    self._threads -= 1
                    return None
                self._idle += 1
                self._work.wait()
                self._idle -= 1
            return self._jobs.popleft()


def blocked() -> contextlib.AbstractContextManager[None]:
    """Within it the calling thread waits for an actor: if it is a worker, another may take its place."""
    pool: Workers | None = getattr(_thread, "pool", None)
    return pool.blocked() if pool is not None else contextlib.nullcontext()
