"""The store's queue: what travels together, and what comes first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from lightmoon_django.persistence.driver import StoreQueue
from lightmoon_django.persistence.records import Find
from lightmoon_django.persistence.store import Committed, Down, Failed, Write
from tests.app.models import Counter
from tests.persistence.test_records import answer
from tests.persistence.world import World


class Loop:
    """An event loop and a store's thread, moved by hand."""

    def __init__(self) -> None:
        self.soon: deque[Callable[[], Any]] = deque()
        self.jobs: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()
        self.later: list[Callable[[], None]] = []
        self.log: list[Any] = []

    def queue(self, store: Any) -> StoreQueue:
        return StoreQueue(store, self, lambda call, *args: self.soon.append(lambda: call(*args)), self._later)

    def _later(self, delay: float, call: Callable[[], None]) -> None:
        self.later.append(call)

    def submit(self, job: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.jobs.append((job, done))

    def stop(self) -> None: ...

    def run(self) -> None:
        """Until nothing is left to do."""
        while self.soon or self.jobs:
            while self.soon:
                self.soon.popleft()()
            assert len(self.jobs) <= 1, "One job is in the store's thread at a time."
            if self.jobs:
                job, done = self.jobs.popleft()
                try:
                    result = job()
                except Exception as error:
                    result = error
                done(result)


class Recording:
    """A store that notes what it is asked."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[Any] = []
        self._answers = list(answers)

    def find(self, finds: Any) -> list[Any]:
        self.asked.append(len(finds))
        found = self._answers.pop(0) if self._answers else None
        if isinstance(found, Exception):
            raise found
        return [found] * len(finds)


class Stored:
    """A write whose outcome is noted."""

    def __init__(self, write: Write, log: list[Any]) -> None:
        self.item = write
        self.tries = 0
        self.done = log.append

    def take(self) -> None:
        pass

    def wanted(self) -> bool:
        return True


def test_a_find_sees_the_writes_that_were_queued_before_it() -> None:
    """B80: a repeated call finds the answer of the one before."""
    world = World("memory")
    node = world.node()
    (counter,) = node.activate(Counter, world.insert(Counter))
    loop, kept = Loop(), answer()
    queue = loop.queue(node.store)
    queue.find(Find(kept.id), loop.log.append)
    queue.commit(Stored(counter.record(kept), loop.log))
    queue.find(Find(kept.id), loop.log.append)
    loop.run()
    assert isinstance(loop.log[0], Committed)
    assert loop.log[-1] == kept
    world.close()


def test_finds_are_grouped() -> None:
    loop, store = Loop(), Recording()
    queue = loop.queue(store)
    for _ in range(5):
        queue.find(Find(bytes(16)), loop.log.append)
    assert not queue.idle
    loop.run()
    assert (store.asked, loop.log, queue.idle) == ([5], [None] * 5, True)


def test_a_find_is_tried_again_while_the_database_is_away() -> None:
    """B35."""
    found = answer()
    loop, store = Loop(), Recording(Down(OSError()), found)
    queue = loop.queue(store)
    queue.find(Find(found.id), loop.log.append)
    loop.run()
    assert loop.log == []
    loop.later.pop()()
    loop.run()
    assert loop.log == [found]


def test_a_find_that_the_database_refuses_has_failed() -> None:
    loop, store = Loop(), Recording(ValueError())
    loop.queue(store).find(Find(bytes(16)), loop.log.append)
    loop.run()
    assert [type(one) for one in loop.log] == [Failed]


def test_a_query_is_answered_or_raises() -> None:
    loop, store = Loop(), Recording()
    queue = loop.queue(store)
    queue.query(lambda given: given is store, loop.log.append)
    queue.query(lambda given: 1 // 0, loop.log.append)
    loop.run()
    assert loop.log[0] is True
    assert isinstance(loop.log[1], ZeroDivisionError)
    assert queue.idle


def test_queries_and_groups_take_turns() -> None:
    """However many queries wait, a group waits for one of them at most; and the other way round."""
    loop = Loop()
    queue = loop.queue(Recording())

    def ask_again(left: int) -> None:
        loop.log.append("group")
        if left:
            queue.find(Find(bytes(16)), lambda _: ask_again(left - 1))

    for _ in range(4):
        queue.query(lambda store: "query", loop.log.append)
    queue.find(Find(bytes(16)), lambda _: ask_again(3))
    loop.run()
    assert loop.log == ["query", "group"] * 4


def test_a_result_that_can_not_be_taken_in_holds_nobody_up(caplog: Any) -> None:
    loop = Loop()
    queue = loop.queue(Recording())
    queue.query(lambda store: None, lambda result: 1 // 0)
    queue.query(lambda store: 2, loop.log.append)
    loop.run()
    assert loop.log == [2]
    assert "could not be taken in" in caplog.text
