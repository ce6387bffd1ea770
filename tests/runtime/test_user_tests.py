"""Under a test runner, as users of LightMoon write their own tests."""

from __future__ import annotations

import contextlib

from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from lightmoon_django import ref
from lightmoon_django.errors import ActorNotFound, Rejected
from tests.live.models import Log, Tally


class InATestCase(TestCase):
    """B65: rolled back after each test, fixtures visible."""

    row: Tally

    @classmethod
    def setUpTestData(cls) -> None:
        cls.row = Tally.objects.create(count=10)

    def test_an_actor_sees_fixtures(self) -> None:
        self.assertEqual(ref(Tally, self.row.pk).add.sync(1), 11)
        self.assertEqual(Tally.objects.get(pk=self.row.pk).count, 11)

    def test_an_actor_sees_fixtures_again(self) -> None:
        self.assertEqual(ref(Tally, self.row.pk).add.sync(1), 11)

    def test_rows_made_in_the_test_are_actors(self) -> None:
        made = Tally.objects.create(count=1)
        self.assertEqual(ref(Tally, made.pk).add.sync(1), 2)
        made.refresh_from_db()
        self.assertEqual(made.count, 2)

    def test_rows_of_other_tests_are_gone(self) -> None:
        self.assertEqual(Tally.objects.count(), 1)
        with self.assertRaises(ActorNotFound):
            ref(Tally, self.row.pk + 1).add.sync(1)

    def test_a_call_is_undone_with_its_block(self) -> None:
        actor = ref(Tally, self.row.pk)
        self.assertEqual(actor.get.sync(), 10)
        with contextlib.suppress(ZeroDivisionError), transaction.atomic():
            self.assertEqual(actor.add.options(in_transaction=True).sync(5), 15)
            raise ZeroDivisionError
        self.assertEqual(actor.get.sync(), 10)
        self.assertEqual(actor.add.sync(1), 11)

    def test_blocking_messages_and_outside_saves_work(self) -> None:
        actor = ref(Tally, self.row.pk)
        self.assertEqual(actor.write_log.sync("x"), 1)
        self.row.refresh_from_db()
        self.row.count = 70
        self.row.save()
        self.assertEqual(actor.add.sync(1), 71)
        with self.assertRaises(Rejected):
            actor.write_log.sync("y", fail=True)
        self.assertEqual(Log.objects.count(), 1)
        self.assertEqual(actor.get.sync(), 71)
        self.assertTrue(connection.in_atomic_block)

    async def test_an_async_test_awaits(self) -> None:
        self.assertEqual(await ref(Tally, self.row.pk).add(1), 11)


class InATransactionTestCase(TransactionTestCase):
    """B65: with real transactions, flushed after each test."""

    def test_first(self) -> None:
        row = Tally.objects.create(pk=1, count=5)
        self.assertEqual(row.add.sync(1), 6)
        self.assertEqual(Tally.objects.get().count, 6)

    def test_second_with_the_same_key(self) -> None:
        row = Tally.objects.create(pk=1, count=100)
        self.assertEqual(row.get.sync(), 100)
        self.assertEqual(row.add.sync(1), 101)
