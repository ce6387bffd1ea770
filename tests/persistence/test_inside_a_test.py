"""The stores on the connection and inside the transaction of a user's own TestCase (§9.10)."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import TestCase

from lightmoon_django.actor.registry import schema_of
from lightmoon_django.conf import Settings
from lightmoon_django.persistence import barrier
from lightmoon_django.persistence.store import (
    Barrier,
    Committed,
    Failed,
    Load,
    Loaded,
    Lost,
    Missing,
    UnitOfWork,
    Write,
)
from lightmoon_django.persistence.stores import open_store
from tests.app.models import Counter, Document, Member, Payment


class Cases:
    """B65: what a test does itself shows at once, and a failure undoes only its own part."""

    alias = "default"

    def setUp(self) -> None:
        self.store = open_store(self.alias, lambda: 5, Settings(), exclusive=False)
        self.row = Counter.objects.using(self.alias).create(count=1)

    def load(self, cls: type = Counter, key: Any = None) -> Any:
        return self.store.load([Load(schema_of(cls), str(key or self.row.pk))])[0]

    def write(self, loaded: Any, cls: type = Counter, key: Any = None, **values: Any) -> Write:
        schema = schema_of(cls)
        columns = self.store.columns(schema)
        instance = columns.make(loaded.snapshot, "")
        for name, value in values.items():
            setattr(instance, name, value)
        _, changes = columns.changes(loaded.snapshot, columns.snapshot(instance), instance)
        return Write(schema, str(key or self.row.pk), loaded.version, loaded.snapshot, changes)

    def test_a_row_of_the_test_is_loaded_and_stored(self) -> None:
        assert isinstance(self.store.commit([self.write(self.load(), count=2)])[0], Committed)
        self.row.refresh_from_db(using=self.alias)
        assert self.row.count == 2

    def test_a_missing_one_is_missing_or_created(self) -> None:
        assert self.load(key=4711) == Missing()
        assert isinstance(self.load(Document, 4711), Loaded)

    def test_what_the_test_writes_is_an_outside_write(self) -> None:
        loaded = self.load()
        Counter.objects.using(self.alias).update(note="by the test")
        assert self.store.commit([self.write(loaded, count=2)]) == [Lost()]
        loaded = self.load()
        assert isinstance(self.store.commit([self.write(loaded, count=2)])[0], Committed)

    def test_what_a_block_of_the_test_takes_back_is_one_too(self) -> None:
        loaded = self.load()
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=self.alias):
            (stored,) = self.store.commit([self.write(loaded, count=2)])
            raise ZeroDivisionError
        assert isinstance(stored, Committed)
        ahead = dataclasses.replace(
            loaded, version=stored.version, snapshot=(loaded.snapshot[0], 2, *loaded.snapshot[2:])
        )
        assert self.store.commit([self.write(ahead, note="n")]) == [Lost()]

    def test_what_a_block_of_the_test_keeps_is_kept(self) -> None:
        with transaction.atomic(using=self.alias):
            loaded = self.load()
            (stored,) = self.store.commit([self.write(loaded, count=2)])
        ahead = dataclasses.replace(
            loaded, version=stored.version, snapshot=(loaded.snapshot[0], 2, *loaded.snapshot[2:])
        )
        assert isinstance(self.store.commit([self.write(ahead, note="n")])[0], Committed)

    def test_a_failure_leaves_the_transaction_usable(self) -> None:
        loaded = self.load()
        assert isinstance(self.store.commit([self.write(loaded, count=13)])[0], Failed)
        assert Counter.objects.using(self.alias).count() == 1

    def test_a_dangling_key_fails_at_its_commit(self) -> None:
        member = Member.objects.using(self.alias).create()
        loaded = self.load(Member, member.pk)
        (outcome,) = self.store.commit([self.write(loaded, Member, member.pk, counter_id=987654)])
        assert isinstance(outcome, Failed)

    def test_a_barrier_turn_runs_in_a_savepoint(self) -> None:
        loaded = self.load()

        def run() -> UnitOfWork:
            Payment.objects.using(self.alias).create(counter=self.row, amount=1)
            return UnitOfWork(None, self.write(loaded, count=9).changes)

        steps: Any = {"begin_commit": lambda: True, "alive": lambda: True, "seconds_left": lambda: 5.0}
        turn = Barrier(schema_of(Counter), str(self.row.pk), loaded.version, loaded.snapshot, run, **steps)
        assert isinstance(self.store.transact(turn), Committed)
        assert not barrier.wrote_in_this_thread()
        assert connections[self.alias].in_atomic_block
        self.row.refresh_from_db(using=self.alias)
        assert self.row.count == 9

    def test_rows_can_be_given_back(self) -> None:
        self.load()
        self.store.disown([(schema_of(Counter), str(self.row.pk))])
        self.row.refresh_from_db(using=self.alias)
        assert self.row.lightmoon_owner is None


class OnSqlite(Cases, TestCase):
    pass


@pytest.mark.skipif("pg" not in connections.databases, reason="There is no psycopg.")
class OnPostgres(Cases, TestCase):
    alias = "pg"
    databases = {"default", "pg"}

    def test_the_session_of_the_test_stays_as_it_was(self) -> None:
        self.load()
        with connections["pg"].cursor() as cursor:
            cursor.execute("SHOW enable_seqscan")
            assert cursor.fetchone() == ("on",)
