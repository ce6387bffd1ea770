"""Which store keeps which actor: opens one per database, with its thread, its membership and its columns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django.db import router
from django.db.models import Model

from lightmoon_django import conf, testrun
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.cluster.membership import Membership
from lightmoon_django.identity import new_incarnation
from lightmoon_django.persistence.columns import MemoryColumns
from lightmoon_django.persistence.driver import Executor, StoreQueue, StoreThread
from lightmoon_django.persistence.store import Columns, Store
from lightmoon_django.persistence.stores import open_store


def database_of(schema: ActorSchema) -> str | None:
    """The alias of the database that keeps an actor class; None for one in memory only."""
    return router.db_for_write(schema.cls) if issubclass(schema.cls, Model) else None


class _Storage:
    """One store per database, opened when an actor of it is first called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: dict[str, StoreQueue] = {}

    def queue(self, schema: ActorSchema) -> StoreQueue | None:
        alias = database_of(schema)
        if alias is None:
            return None
        found = self._queues.get(alias)
        if found is None:
            found = self._queues[alias] = self._open(alias)
        return found

    def columns(self, schema: ActorSchema) -> Columns:
        queue = self.queue(schema)
        return queue.store.columns(schema) if queue is not None else MemoryColumns(schema)

    def _open(self, alias: str) -> StoreQueue:
        store = self._store(alias)
        executor = self._executor(alias, store)
        return StoreQueue(store, executor, self._loop.call_soon, self._loop.call_later)

    def _store(self, alias: str) -> Store:
        raise NotImplementedError

    def _executor(self, alias: str, store: Store) -> Executor:
        raise NotImplementedError

    def stop(self) -> None:
        for queue in self._queues.values():
            queue.stop()


class DatabaseStorage(_Storage):
    """As in production: a thread per store, and a lease per database."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[], None]) -> None:
        super().__init__(loop)
        self.lease = Membership(lease_seconds=conf.settings().LEASE_SECONDS, on_lost=on_lost)

    def guard(self) -> None:
        return None

    def _store(self, alias: str) -> Store:
        self.lease.join(alias)
        return open_store(alias, lambda: self.lease.incarnation, conf.settings())

    def _executor(self, alias: str, store: Store) -> Executor:
        return StoreThread(f"lightmoon-store-{alias}", self._loop.call_soon_threadsafe, store.close)

    def stop(self) -> None:
        super().stop()
        self.lease.stop()


class _NoLease:
    """A test's own transaction can't be taken over by anybody."""

    def valid(self) -> bool:
        return True


class RunnerStorage(_Storage):
    """Under a test runner: the test's own connection and thread, no lease, no row of a node."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.lease = _NoLease()
        self._incarnation = new_incarnation()

    def guard(self) -> Callable[[], bool]:
        return testrun.guard()

    def _store(self, alias: str) -> Any:
        return open_store(alias, lambda: self._incarnation, conf.settings())

    def _executor(self, alias: str, store: Store) -> Executor:
        return testrun.LentThread(self._loop.call_soon_threadsafe)
