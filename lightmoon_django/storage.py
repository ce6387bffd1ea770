"""Which store keeps which actor: opens one per database, with its thread, its membership and its columns."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any

from django.db import connections, router
from django.db.models import Model

from lightmoon_django import conf, testrun
from lightmoon_django.actor import registry
from lightmoon_django.actor.placement import CALLER, GATEWAY, role_of
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.cluster.membership import Membership
from lightmoon_django.identity import Endpoint, new_incarnation
from lightmoon_django.models import Place
from lightmoon_django.persistence.driver import Executor, StoreQueue, StoreThread
from lightmoon_django.persistence.memory import MemoryColumns
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.silence import at_most
from lightmoon_django.persistence.store import Columns, Store
from lightmoon_django.persistence.stores import open_store

logger = logging.getLogger("lightmoon")

LONGEST_JOB = 30.0  # seconds that the store's thread waits for a database that answers others


def database_of(schema: ActorSchema) -> str | None:
    """The alias of the database that keeps an actor class; None for one in memory only."""
    return router.db_for_write(schema.cls) if issubclass(schema.cls, Model) else None


def directory_alias() -> str | None:
    """The alias of the database that says who has which actor in memory only. None: no other process could see it."""
    alias = router.db_for_write(Place)
    connection = connections[alias]
    if connection.vendor == "unknown" or (connection.vendor == "sqlite" and connection.is_in_memory_db()):  # type: ignore[attr-defined]
        return None
    return alias


def unhosted(roles: Iterable[str]) -> list[str]:
    """The wire names of actor classes that a process with those roles can't host. One without any can host all."""
    own = set(roles) - {GATEWAY, CALLER}
    named = {registry.name_of(cls): role_of(registry.options_of(cls).placement) for cls in registry.registered()}
    return [name for name, role in named.items() if own and role and role not in own]


class _Storage:
    """One store per database, opened when an actor of it is first called."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queues: dict[str, StoreQueue] = {}

    def queue(self, schema: ActorSchema) -> StoreQueue | None:
        alias = database_of(schema)
        if alias is None:
            return None
        return self._queue(alias)

    def _queue(self, alias: str) -> StoreQueue:
        found = self._queues.get(alias)
        if found is None:
            found = self._queues[alias] = self._open(alias)
        return found

    def directory(self, schema: ActorSchema) -> StoreQueue | None:
        return self.queue(schema)

    @property
    def alone(self) -> bool:
        return False

    def end_solitude(self) -> tuple[StoreQueue, int] | None:
        return None

    def columns(self, schema: ActorSchema) -> Columns:
        queue = self.queue(schema)
        return queue.store.columns(schema) if queue is not None else MemoryColumns(schema)

    def _open(self, alias: str) -> StoreQueue:
        store = testrun.equipment.wrap(self._store(alias))
        executor = self._executor(alias, store)
        return StoreQueue(store, executor, self._loop.call_soon, self._loop.call_later, self._trusted(alias))

    def _trusted(self, alias: str) -> Callable[[], bool]:
        """Tells whether nobody else can have taken rows of that database yet."""
        return lambda: True

    def _store(self, alias: str) -> Store:
        raise NotImplementedError

    def _executor(self, alias: str, store: Store) -> Executor:
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Nothing waits for a store, and nothing is on its way to one."""
        return all(queue.idle for queue in self._queues.values())

    def discard(self) -> None:
        for queue in self._queues.values():
            queue.discard()

    def stop(self) -> None:
        for queue in self._queues.values():
            queue.stop()


class DatabaseStorage(_Storage):
    """As in production: a thread per store, and a lease per database."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[StoreQueue], None],
        endpoint: Callable[[], Endpoint | None],
        unhosted: Collection[str] = (),
        on_visible: Callable[[], None] = lambda: None,
        on_company: Callable[[], object] = lambda: None,
    ) -> None:
        """`on_lost` is told the store whose lease has ended, in the thread of that lease's heartbeat.

        `on_company` is called in that thread while this process is alone no more, and doesn't know it.

        `endpoint` tells how other processes reach this one. It is called in any thread. `unhosted` are the wire names
        of actor classes that can't live in this process. `on_visible` is called in any thread when others can find
        this process anew.
        """
        super().__init__(loop)
        self._threads: dict[str, StoreThread] = {}
        self._beats: dict[str, Any] = {}
        self._on_company = on_company
        self.lease = Leases(lambda alias: on_lost(self._queues[alias]), endpoint, self._beaten, self._beat, on_visible)
        self._unhosted = unhosted
        self._directory: str | None = None  # the database that says who has an actor in memory only

    def open_directory(self) -> None:
        """Other processes can be reached: from now on, actors in memory only live in one of them, as all others do.

        Without this, or where no other process sees the database, each process has its own.
        """
        if any(not issubclass(cls, Model) for cls in registry.registered()):
            self._directory = directory_alias()
        if self._directory is not None:
            self._queue(self._directory)  # so that this process is known to the others

    def directory(self, schema: ActorSchema) -> StoreQueue | None:
        if schema.persistent or self._directory is None:
            return self.queue(schema)
        return self._queue(self._directory)

    @property
    def alone(self) -> bool:
        member = self.lease.of(self._directory) if self._directory is not None else None
        return member is not None and member.alone and member.valid()

    def end_solitude(self) -> tuple[StoreQueue, int] | None:
        if self._directory is None or not self.alone:
            return None
        member = self.lease.of(self._directory)
        member.alone = False
        return self._queue(self._directory), member.incarnation()

    @property
    def aliases(self) -> list[str]:
        """The databases whose actors this process has called."""
        return list(self._queues)

    def guard(self) -> None:
        return None

    def _store(self, alias: str) -> Store:
        member = self.lease.open(alias, seeks_solitude=alias == self._directory)
        store = open_store(alias, member.incarnation, conf.settings())
        store.leave_alone(self._unhosted)
        store.trusted = member.valid
        return store

    def _trusted(self, alias: str) -> Callable[[], bool]:
        return self.lease.of(alias).valid

    def _executor(self, alias: str, store: Store) -> Executor:
        hang_up = getattr(store, "hang_up", lambda: None)
        thread = StoreThread(f"lightmoon-store-{alias}", self._loop.call_soon_threadsafe, store.close, hang_up)
        self._threads[alias] = thread
        self._beats[alias] = getattr(store, "beat", None)
        thread.submit(lambda: self.lease.start(alias), lambda _: None)  # ahead of the first claim
        return thread

    def _beaten(self, alias: str) -> None:
        """In a heartbeat's thread. Others may be unable to say that they are there."""
        self._break_off(alias)
        member = self.lease.of(alias)
        if not member.alone or not member.valid():
            return
        try:
            with at_most(connections[alias], conf.settings().LEASE_SECONDS / 3):
                accompanied = len(Nodes(alias).survey()) > 1
        except Exception:  # the next heartbeat is soon enough, but not on a connection that may be broken
            connections[alias].close()
            return
        if accompanied:
            self._on_company()

    def _break_off(self, alias: str) -> None:
        """In a heartbeat's thread: the store need not wait for longer than the lease, once that has ended."""
        if (thread := self._threads.get(alias)) is not None:
            valid = self.lease.of(alias).valid()
            thread.break_off(LONGEST_JOB if valid else conf.settings().LEASE_SECONDS)

    def _beat(self, alias: str, heartbeat: Callable[[], bool]) -> bool | None:
        """In a heartbeat's thread: let the store do it, where that wants to and is not too busy."""
        beat = self._beats.get(alias)
        if beat is None:
            return None
        return self._threads[alias].lend(lambda: bool(beat(heartbeat)), conf.settings().LEASE_SECONDS / 10)

    def stop(self) -> None:
        self.lease.stopping.set()
        super().stop()
        self.lease.stop()


class Leases:
    """This process's leases, one per database that hosts actors. Valid while all of them are.

    What happens to one, or to its database, is no concern of the actors that another database keeps.
    """

    def __init__(
        self,
        on_lost: Callable[[str], None],
        endpoint: Callable[[], Endpoint | None],
        on_beat: Callable[[str], None],
        beat: Callable[[str, Callable[[], bool]], bool | None],
        on_visible: Callable[[], None],
    ) -> None:
        self._on_lost = on_lost
        self._endpoint = endpoint
        self._on_beat = on_beat
        self._beat = beat
        self._on_visible = on_visible
        self._members: dict[str, Membership] = {}
        self.stopping = threading.Event()

    def open(self, alias: str, *, seeks_solitude: bool = False) -> Membership:
        """The membership in one database, not started yet."""
        self._members[alias] = Membership(
            alias,
            conf.settings(),
            lambda: self._on_lost(alias),
            endpoint=self._endpoint,
            deputy=lambda heartbeat: self._beat(alias, heartbeat),
            on_beat=lambda: self._on_beat(alias),
            on_visible=self._on_visible,
            seeks_solitude=seeks_solitude,
        )
        return self._members[alias]

    def of(self, alias: str) -> Membership:
        return self._members[alias]

    def start(self, alias: str) -> None:
        """Register, and try again while the database is away. Blocks; runs in the store's thread."""
        delay = 0.05  # seconds
        while not self.stopping.is_set():
            try:
                self._members[alias].start()
                return
            except Exception:
                logger.exception("Database %r does not register this node yet.", alias, extra={"action": "register"})
                self.stopping.wait(delay)
                delay = min(delay * 2, 1.0)

    def valid(self) -> bool:
        return all(member.valid() for member in self._members.values())

    def stop(self) -> None:
        for member in self._members.values():
            member.stop()


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
        store = open_store(alias, lambda: self._incarnation, conf.settings())
        store.exclusive = False  # the connection is the test's
        return store

    def _executor(self, alias: str, store: Store) -> Executor:
        return testrun.LentThread(self._loop.call_soon_threadsafe)
