"""The memory store's barrier turns, and its memory-only actors."""

from __future__ import annotations

import pytest

from lightmoon_django.actor.registry import schema_of
from lightmoon_django.persistence.memory import MemoryStore
from lightmoon_django.persistence.store import Committed, Load, Loaded, Lost
from tests.app.models import Counter, Scratchpad
from tests.persistence.world import World


@pytest.fixture
def memory() -> World:
    return World("memory")


def test_an_actor_in_memory_is_made_at_its_first_call() -> None:
    """B8."""
    store = MemoryStore()
    (loaded,) = store.load([Load(schema_of(Scratchpad), "a")])
    assert isinstance(loaded, Loaded)
    assert loaded.snapshot == ([], 0)


def test_its_fields_are_gone_when_it_is_given_back() -> None:
    store = MemoryStore()
    store.load([Load(schema_of(Scratchpad), "a")])
    store.disown([(schema_of(Scratchpad), "a")])
    assert store.memory.rows == {}


def test_a_barrier_turn_stores_its_changes(memory: World) -> None:
    (counter,) = memory.node().activate(Counter, memory.insert(Counter))
    assert isinstance(counter.transact(lambda instance: setattr(instance, "count", 4)), Committed)
    assert memory.stored(Counter, counter.key).count == 4
    assert isinstance(counter.commit(count=5), Committed)
    memory.close()


def test_a_barrier_turn_that_lost_its_row_stores_nothing(memory: World) -> None:
    """B31."""
    (counter,) = memory.node().activate(Counter, memory.insert(Counter))
    memory.update(Counter, counter.key, count=70)
    assert counter.transact(lambda instance: setattr(instance, "count", 4)) == Lost()
    assert counter.transact(begin_commit=lambda: False) == Lost()
    assert memory.stored(Counter, counter.key).count == 70
    memory.close()
