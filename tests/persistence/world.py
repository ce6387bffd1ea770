"""Stores under test: each on a thread of its own, as in production, on memory or a database that several share."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections, models, transaction

from lightmoon_django.actor.registry import schema_of
from lightmoon_django.conf import Settings
from lightmoon_django.models import Answer, DeadLetter, Outgoing, Pause, Reminder
from lightmoon_django.persistence.columns import ModelColumns
from lightmoon_django.persistence.memory import Memory, MemoryStore
from lightmoon_django.persistence.memoryrecords import Waiting
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.records import DueTell, Record
from lightmoon_django.persistence.store import Barrier, Load, Loaded, UnitOfWork, Write
from lightmoon_django.persistence.stores import open_store

T = TypeVar("T")
_incarnations = itertools.count(1001)


class Activation:
    """What a node has of one row: the store's answer, and an instance to change."""

    def __init__(self, node: Node, cls: type, key: str, loaded: Loaded) -> None:
        self.node, self.cls, self.key = node, cls, key
        self.schema = schema_of(cls)
        self.columns = node.store.columns(self.schema)
        self.version, self.base = loaded.version, loaded.snapshot
        self.claimed_at = loaded.claimed_at
        self.instance = self.columns.make(loaded.snapshot, key)

    def record(self, *records: Record, **values: Any) -> Write:
        """A write of changed fields and records."""
        write = self.write(**values)
        write.records = records
        return write

    def write(self, **values: Any) -> Write:
        """Set fields of the instance, and make a write of what changed."""
        for name, value in values.items():
            setattr(self.instance, name, value)
        self.after, changes = self.columns.changes(self.base, self.columns.snapshot(self.instance), self.instance)
        return Write(self.schema, self.key, self.version, self.base, changes)

    def look(self, *, fence: bool = False) -> Write:
        return Write(self.schema, self.key, self.version, self.base, {}, fence)

    def settle(self, outcome: Any) -> Any:
        """Take in a commit's outcome, and hand it on."""
        if type(outcome).__name__ == "Committed":
            self.version = outcome.version
            self.base = getattr(self, "after", self.base) if outcome.snapshot is None else outcome.snapshot
        return outcome

    def commit(self, **values: Any) -> Any:
        return self.settle(self.node.commit(self.write(**values))[0])

    def verify(self) -> Any:
        return self.node.commit(self.look())[0]

    def transact(self, run: Callable[[Any], Any] | None = None, **more: Any) -> Any:
        """A barrier turn whose handler is `run(instance)`; what it returns becomes the unit of work's other parts."""

        def handler() -> UnitOfWork:
            others = (run(self.instance) if run is not None else None) or {}
            write = self.write()
            return UnitOfWork(self.instance, write.changes, **others)

        return self.settle(self.node.transact(self.barrier(handler, **more)))

    def barrier(self, run: Callable[[], UnitOfWork], **more: Any) -> Barrier:
        steps: dict[str, Any] = {"begin_commit": lambda: True, "alive": lambda: True, "seconds_left": lambda: 2.0}
        return Barrier(self.schema, self.key, self.version, self.base, run, **{**steps, **more})


class Node:
    """One store with its thread."""

    def __init__(self, world: World, incarnation: int) -> None:
        self.world = world
        self.incarnation = incarnation
        self.store = world.open(incarnation)
        self._thread = ThreadPoolExecutor(1, "store")

    def load(self, cls: type, *keys: str) -> list[Any]:
        return self.run(lambda: self.store.load([Load(schema_of(cls), key) for key in keys]))

    def activate(self, cls: type, *keys: str) -> list[Activation]:
        """Load rows that must be there."""
        outcomes = self.load(cls, *keys)
        assert all(isinstance(one, Loaded) for one in outcomes), outcomes
        return [Activation(self, cls, key, one) for key, one in zip(keys, outcomes, strict=True)]

    def commit(self, *writes: Write) -> list[Any]:
        return self.run(lambda: self.store.commit(writes))

    def transact(self, barrier: Barrier) -> Any:
        return in_thread(lambda: self.store.transact(barrier))

    def disown(self, *activations: Activation) -> None:
        self.run(lambda: self.store.disown([(one.schema, one.key) for one in activations]))

    def run(self, job: Callable[[], T]) -> T:
        return self._thread.submit(job).result(60)

    def close(self) -> None:
        self.run(self.store.close)
        self.run(connections.close_all)
        self._thread.shutdown()


class World:
    """One backend that several nodes share, and the code outside that knows nothing of actors."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.alias = "pg" if backend == "postgresql" else "default"
        self.memory = Memory()
        self.nodes: list[Node] = []

    @property
    def in_memory(self) -> bool:
        return self.backend == "memory"

    def node(self) -> Node:
        """Another node, with a lease of an hour."""
        found = Node(self, next(_incarnations))
        if not self.in_memory:
            found.run(lambda: Nodes(self.alias).register(found.incarnation, 3600.0))
        self.nodes.append(found)
        return found

    def open(self, incarnation: int) -> Any:
        if self.in_memory:
            return MemoryStore(
                lambda: incarnation, self.memory, lambda schema: ModelColumns(schema, connections["default"])
            )
        return open_store(self.alias, lambda: incarnation, Settings())

    def kill(self, node: Node) -> None:
        """Declare a node dead, as after its lease."""
        if self.in_memory:
            self.memory.dead.add(node.incarnation)
        else:
            Nodes(self.alias).leave(node.incarnation)

    def insert(self, cls: Any, **values: Any) -> str:
        """A new row from outside; its key."""
        if not self.in_memory:
            return str(cls._base_manager.using(self.alias).create(**values).pk)
        instance = cls(**values)
        if instance.pk is None:
            instance.pk = len(self.memory.rows) + 1
        key = str(instance.pk)
        self._outside(cls, key, instance)
        return key

    def stored(self, cls: Any, key: str) -> Any:
        """The row as it is stored, or None."""
        if not self.in_memory:
            return cls._base_manager.using(self.alias).filter(pk=key).first()
        row = self.memory.rows.get((schema_of(cls).name, key))
        return None if row is None else self._columns(cls).make(row.snapshot, key)

    def update(self, cls: Any, key: str, **values: Any) -> None:
        """`QuerySet.update` from outside."""
        if not self.in_memory:
            cls._base_manager.using(self.alias).filter(pk=key).update(**values)
            return
        instance = self.stored(cls, key)
        for name, value in values.items():
            setattr(instance, name, value)
        self._outside(cls, key, instance)

    def delete(self, cls: Any, key: str) -> None:
        if self.in_memory:
            self._outside(cls, key, None)
        else:
            cls._base_manager.using(self.alias).filter(pk=key).delete()

    def owner(self, cls: Any, key: str) -> int | None:
        if self.in_memory:
            return self.memory.rows[schema_of(cls).name, key].owner
        found: int | None = cls._base_manager.using(self.alias).values_list("lightmoon_owner", flat=True).get(pk=key)
        return found

    # What is kept beside the rows.

    def waiting(self) -> list[tuple[Any, ...]]:
        """All reminders and tells: what and whose they are, generation, `wake_at`, attempts and last error."""
        if self.in_memory:
            return sorted(_waiting(one) for one in self.memory.records.waiting.values())
        reminders = Reminder.objects.using(self.alias).values_list(
            "actor", "key", "name", "generation", "wake_at", "attempts", "last_error"
        )
        tells = Outgoing.objects.using(self.alias).values_list(
            "actor", "key", "message", models.Value(0), "wake_at", "attempts", "last_error"
        )
        return sorted([*reminders, *tells])

    def letters(self) -> list[DeadLetter]:
        if self.in_memory:
            return self.memory.records.letters
        return list(DeadLetter.objects.using(self.alias).order_by("pk"))

    def answers(self) -> set[bytes]:
        """Ids of all that are stored, expired ones too."""
        if self.in_memory:
            return set(self.memory.records.answers)
        return {id.bytes for id in Answer.objects.using(self.alias).values_list("pk", flat=True)}

    def pause(self, actor: str, key: str) -> None:
        if self.in_memory:
            self.memory.records.paused.add((actor, key))
        else:
            Pause.objects.using(self.alias).create(actor=actor, key=key, since=0)

    def resume(self, actor: str, key: str) -> None:
        if self.in_memory:
            self.memory.records.paused.discard((actor, key))
        else:
            Pause.objects.using(self.alias).filter(actor=actor, key=key).delete()

    def _outside(self, cls: Any, key: str, instance: Any) -> None:
        snapshot = None if instance is None else self._columns(cls).snapshot(instance)
        MemoryStore(memory=self.memory).outside_write(schema_of(cls), key, snapshot)

    def _columns(self, cls: Any) -> ModelColumns:
        return ModelColumns(schema_of(cls), connections["default"])

    def close(self) -> None:
        for node in self.nodes:
            node.close()


def _waiting(one: Waiting) -> tuple[Any, ...]:
    due = one.due
    rest = (one.wake_at, due.attempts, one.last_error)
    if isinstance(due, DueTell):
        return (due.tell.actor, due.tell.key, due.tell.message, 0, *rest)
    return (due.actor, due.key, due.name, due.schedule.generation, *rest)


class RowHolder:
    """An outside transaction that holds one row until the end of the block."""

    def __init__(self, world: World, cls: type[models.Model], key: str) -> None:
        self._world, self._cls, self._key = world, cls, key
        self._taken, self._let_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        try:
            with transaction.atomic(using=self._world.alias):
                rows = self._cls._base_manager.using(self._world.alias)
                rows.select_for_update().get(pk=self._key)
                self._taken.set()
                self._let_go.wait(30)
        finally:
            connections.close_all()

    def __enter__(self) -> RowHolder:
        self._thread.start()
        assert self._taken.wait(10), "The outside transaction could not take the row."
        return self

    def __exit__(self, *exception: object) -> None:
        self._let_go.set()
        self._thread.join(10)


def in_thread(job: Callable[[], T]) -> T:
    """Run in a fresh thread, whose connections are closed after it."""

    def run() -> T:
        try:
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1, "worker") as pool:
        return pool.submit(run).result(60)
