"""Under a test runner: all database work runs on the test's own connection, one at a time.

Django's TestCase wraps each test in a transaction of one connection in one thread, and rolls it back. So there is no
store thread and no worker then: the thread that is blocked in `.sync()` or `settle()` does their work.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from asgiref.sync import AsyncToSync, SyncToAsync, sync_to_async
from django.db import connections
from django.test import utils

T = TypeVar("T")
Job = Callable[[], Any]
Done = Callable[[Any], None]

_threads_wanted = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What a test puts in the place of the machine's own. A node looks at it when it starts."""

    clock: Any = None  # a `Clock`; None: the machine's
    wrap: Callable[[Any], Any] = lambda store: store  # what stands between the node and each of its stores
    observers: tuple[Callable[[Any, Any], object], ...] = ()  # called as `Node.observers` are


MACHINE = Equipment()

equipment = MACHINE


def equip(wanted: Equipment) -> None:
    """Let nodes that start from now on have that. Nodes that run are not touched."""
    global equipment
    equipment = wanted


def active() -> bool:
    """Whether a test runner has set up Django's test environment, and no test asked for real threads."""
    return hasattr(utils._TestState, "saved_data") and not _threads_wanted


@contextlib.contextmanager
def real_threads() -> Iterator[None]:
    """Within it the node works as in production. For tests of LightMoon itself and for live servers."""
    global _threads_wanted
    before, _threads_wanted = _threads_wanted, True
    try:
        yield
    finally:
        _threads_wanted = before


class Lending:
    """Work that waits for a thread that lends itself."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[Job, Done, Callable[..., object]]] = deque()
        self.running = 0

    def submit(self, job: Job, done: Done, call_soon: Callable[..., object]) -> Lent:
        lent = Lent(self, (job, done, call_soon))
        with self._changed:
            self._jobs.append(lent.item)
            self._changed.notify_all()
        return lent

    def withdraw(self, lent: Lent) -> None:
        """Take back what nobody has begun."""
        with self._changed, contextlib.suppress(ValueError):
            self._jobs.remove(lent.item)

    def discard(self) -> None:
        """Forget jobs that nobody has begun: their test is over, and must not go on in the next one."""
        with self._changed:
            self._jobs.clear()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @property
    def idle(self) -> bool:
        return not self._jobs and not self.running

    def run_one(self) -> bool:
        """Do one job in this thread. False: there was none."""
        with self._changed:
            if not self._jobs:
                return False
            job, done, call_soon = self._jobs.popleft()
            self.running += 1
        try:
            result = job()
        except BaseException as error:
            result = error
        finally:
            with self._changed:
                self.running -= 1
        with contextlib.suppress(RuntimeError):
            call_soon(done, result)
        return True

    def serve(self, finished: Callable[[], bool], until: float) -> bool:
        """Work until `finished()`. False: time is up."""
        while not finished():
            if self.run_one():
                continue
            with self._changed:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait_for(lambda: bool(self._jobs) or finished(), timeout=left)
        return True


lending = Lending()


class Lent:
    """A job that waits for a thread."""

    def __init__(self, lending: Lending, item: tuple[Job, Done, Callable[..., object]]) -> None:
        self._lending = lending
        self.item = item

    def abandon(self) -> None:
        """Nobody waits for it any more: if it hasn't begun, it never does."""
        self._lending.withdraw(self)


class LentThread:
    """An executor for stores and barrier turns: hands its jobs to whichever thread lends itself."""

    def __init__(self, call_soon: Callable[..., object]) -> None:
        self._call_soon = call_soon

    def submit(self, job: Job, done: Done) -> Lent:
        return lending.submit(job, done, self._call_soon)

    def stop(self) -> None:
        pass


class LentExecutor(concurrent.futures.Executor):
    """The same for `sync_to_async` inside turns."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    with _home_kept():
                        future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        lending.submit(job, lambda _: None, lambda *_: None)
        return future


@contextlib.contextmanager
def _home_kept() -> Iterator[None]:
    """asgiref notes in a thread which loop it works for. A thread that lends itself goes on working for its own."""
    notes = SyncToAsync.threadlocal.__dict__
    before = dict(notes)
    try:
        yield
    finally:
        notes.clear()
        notes.update(before)


@contextlib.contextmanager
def lending_to(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Within it the ORM's async methods see, on that loop too, what the test sees. asgiref asks here for a thread."""
    executors: dict[Any, Any] = AsyncToSync.loop_thread_executors
    executors[loop] = LentExecutor()
    try:
        yield
    finally:
        del executors[loop]


def wait(future: concurrent.futures.Future[T], seconds: float) -> T:
    """The future's result; meanwhile this thread does the database's work. Raises `TimeoutError`."""
    future.add_done_callback(lambda _: lending.wake())
    if not lending.serve(future.done, time.monotonic() + seconds):
        raise concurrent.futures.TimeoutError
    return future.result()


async def wait_async(future: concurrent.futures.Future[T]) -> T:
    """The same from an async test: the work is done where Django's async tests have their connection."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(changed.set))
    while not future.done():
        if not await sync_to_async(lending.run_one, thread_sensitive=True)():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), 0.002)  # seconds; jobs come from another thread
    return future.result()


def guard() -> Callable[[], bool]:
    """Remembers the transactions that the calling test has open; tells later whether all of them still are."""
    then = {alias: list(blocks) for alias, blocks in _now.items()}

    def stands() -> bool:
        return all(_prefix(blocks, _now.get(alias, [])) for alias, blocks in then.items())

    return stands


_now: dict[str, list[Any]] = {}


def note_transactions() -> None:
    """Take note of this thread's open transactions, before a call of it reaches the node.

    A thread with a running loop has none: an async test's connection is in another one.
    """
    if asyncio._get_running_loop() is not None:
        return
    _now.clear()
    _now.update((connection.alias, list(connection.atomic_blocks)) for connection in connections.all(True))


def _prefix(earlier: list[Any], later: list[Any]) -> bool:
    return len(earlier) <= len(later) and all(a is b for a, b in zip(earlier, later, strict=False))
