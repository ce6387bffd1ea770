"""Models with save logic of their own: honoured, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.signals import post_save

from lightmoon_django import ref
from lightmoon_django.errors import InternalError
from tests.live.models import Made, Tally
from tests.runtime.conftest import World


class Receiver:
    """A post_save receiver of the project's."""

    def __init__(self) -> None:
        self.saved: list[int] = []
        self.then: Any = lambda instance: None

    def __call__(self, sender: type, instance: Tally, **_: Any) -> None:
        self.saved.append(instance.count)
        self.then(instance)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    post_save.connect(found, sender=Tally)
    yield found
    post_save.disconnect(found, sender=Tally)


async def test_a_models_own_receivers_run_for_every_commit(stored: World, receiver: Receiver) -> None:
    """B37, B75: in order, one commit per turn."""
    actor = await stored.make()
    receiver.saved.clear()
    assert await asyncio.gather(*[actor.add(1) for _ in range(5)]) == [1, 2, 3, 4, 5]
    assert receiver.saved == [1, 2, 3, 4, 5]
    assert (await stored.stored(actor.key)).count == 5


async def test_a_slow_receiver_holds_up_nobody_else(stored: World, receiver: Receiver) -> None:
    """B75: other actors run and commit while it works."""
    if stored.backend == "sqlite":
        pytest.skip("On SQLite a receiver runs while its transaction holds the file's only write lock.")
    actor = await stored.make()
    began, let_go = threading.Event(), threading.Event()

    def wait(instance: Tally) -> None:
        began.set()
        let_go.wait(20)

    receiver.then = wait
    slow = asyncio.ensure_future(actor.add(1))
    await asyncio.to_thread(began.wait, 20)
    assert [await ref(Made, "other").add(1) for _ in range(10)] == list(range(1, 11))
    assert not slow.done()
    let_go.set()
    assert await slow == 1


async def test_a_receiver_that_asks_with_sync_is_told_at_once(
    stored: World, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """B75: no deadlock: its turn fails with the reason in the log, and the actor goes on."""
    actor = await stored.make()
    receiver.then = lambda instance: ref(Made, "other").add.sync(1)
    with pytest.raises(InternalError):
        await actor.add(1)
    assert "open transaction" in caplog.text
    receiver.then = lambda instance: None
    assert await actor.add(1) == 1


async def test_a_receiver_that_fails_undoes_its_turn(stored: World, receiver: Receiver) -> None:
    """B26, B37: the caller gets the error and memory is what is stored."""
    actor = await stored.make(count=3)

    def fail(instance: Tally) -> None:
        raise ZeroDivisionError("receiver")

    receiver.then = fail
    with pytest.raises(InternalError):
        await actor.add(1)
    receiver.then = lambda instance: None
    assert await actor.get() == 3
    assert (await stored.stored(actor.key)).count == 3


async def test_a_blocking_message_may_read_and_then_ask(stored: World) -> None:
    """9.8: on SQLite too, where its transaction gives up the lock for the time of the ask."""
    one, other = await stored.make(), await stored.make()
    assert await one.read_then_ask.options(timeout=10)(other.key) == 1


async def only_where_no_file_is_locked(stored: World, call: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An ask from a turn is answered by PostgreSQL, and refused at once where SQLite's only lock is held."""
    if stored.backend == "postgresql":
        assert await call == 1
        return
    with pytest.raises(InternalError):
        await call
    assert "only write lock" in caplog.text


async def test_asking_inside_a_block_on_sqlite_is_one_too(stored: World, caplog: pytest.LogCaptureFixture) -> None:
    """9.8: the lock can't be given up there."""
    one, other = await stored.make(), await stored.make()
    await only_where_no_file_is_locked(stored, one.ask_within.options(timeout=10)(other.key), caplog)


async def test_asking_after_a_write_on_sqlite_is_an_immediate_error(
    stored: World, caplog: pytest.LogCaptureFixture
) -> None:
    """9.8: the other actor could not commit; elsewhere it can."""
    one, other = await stored.make(), await stored.make()
    await only_where_no_file_is_locked(stored, one.read_then_ask.options(timeout=10)(other.key, True), caplog)
    assert await stored.logs() == (stored.backend == "postgresql")
