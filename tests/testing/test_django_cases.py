"""The kit in Django's own test cases, as users of LightMoon write theirs."""

from __future__ import annotations

import asyncio
import datetime
import urllib.request
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import LiveServerTestCase, TestCase, TransactionTestCase, override_settings
from django.urls import path

from lightmoon_django import ref
from lightmoon_django.errors import DeadlineExceeded, InternalError
from lightmoon_django.host import host
from lightmoon_django.testing import LightMoonTestMixin, real_threads
from tests.live.models import Log, Probe, Scratch, Tally


async def own_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def count_logs(actor: Any) -> None:
    """What `on_activate` does in some of these tests: ask the database in async code."""
    Probe.log.append(await Log.objects.acount())
    async for log in Log.objects.all():
        Probe.log.append(log.text)


class InATestCase(LightMoonTestMixin, TestCase):
    """B65: rolled back after each test, fixtures visible."""

    row: Tally

    @classmethod
    def setUpTestData(cls) -> None:
        cls.row = Tally.objects.create(count=10)
        Log.objects.create(text="fixture")

    def tearDown(self) -> None:
        Probe.clear()

    def test_what_was_told_has_run(self) -> None:
        ref(Tally, self.row.pk).add.tell(1)
        self.settle()
        self.row.refresh_from_db()
        self.assertEqual(self.row.count, 11)

    def test_events_are_those_of_this_test(self) -> None:
        self.assertEqual(self.events.of(self.row), [])
        self.row.add.sync(1)
        self.assertEqual(self.events.of(self.row), [("added", {"n": 1, "count": 11})])

    def test_the_clock_is_held_from_its_first_use(self) -> None:
        self.row.add.sync(1)
        self.row.add.tell(1)
        self.clock.advance(1000)
        self.assertIn(("deactivate", str(self.row.pk)), Probe.log)
        self.assertEqual(self.row.add.sync(5), 17)

    def test_faults_show_as_in_production(self) -> None:
        with self.faults.fail_commit(self.row), self.assertRaises(InternalError):
            self.row.add.sync(1)
        self.assertEqual(self.row.get.sync(), 10)

    def test_async_code_of_an_actor_sees_fixtures(self) -> None:
        """The ORM's async methods work on the test's own connection."""
        Probe.activate = count_logs
        self.row.add.sync(1)
        self.assertEqual(Probe.log[-2:], [1, "fixture"])
        self.assertIsNot(async_to_sync(own_loop)(), host.node.loop if host.node else None)

    async def test_async_code_of_an_actor_sees_what_an_async_test_did(self) -> None:
        Probe.activate = count_logs
        await Log.objects.acreate(text="by the test")
        await ref(Tally, self.row.pk).add(1)
        self.assertEqual(Probe.log[-3:], [2, "fixture", "by the test"])

    async def test_an_async_test(self) -> None:
        actor = ref(Tally, self.row.pk)
        asking = asyncio.create_task(actor.hold.options(timeout=60)("never"))
        await self.clock.aadvance(59)
        self.assertFalse(asking.done())
        self.assertIn(("holding", "never"), Probe.log)
        await self.clock.aadvance(datetime.timedelta(seconds=1))
        with self.assertRaises(DeadlineExceeded):
            await asking
        await self.asettle()
        self.assertEqual(await actor.add(1), 11)

    def test_activations_of_other_tests_are_gone(self) -> None:
        self.assertIsNone(host.node)
        self.assertEqual(ref(Scratch, "one").add.sync(1), 1)

    def test_activations_of_other_tests_are_gone_again(self) -> None:
        self.test_activations_of_other_tests_are_gone()


class InATransactionTestCase(LightMoonTestMixin, TransactionTestCase):
    """B65: with real transactions, flushed after each test."""

    def test_first(self) -> None:
        row = Tally.objects.create(pk=1, count=5)
        row.add.tell(1)
        self.settle()
        self.assertEqual(Tally.objects.get().count, 6)

    def test_second_with_the_same_key(self) -> None:
        row = Tally.objects.create(pk=1, count=100)
        self.clock.advance(3600)
        self.assertEqual(row.add.sync(1), 101)
        self.assertEqual(self.events.of(row), [("added", {"n": 1, "count": 101})])


def add(request: HttpRequest, key: int) -> HttpResponse:
    return HttpResponse(str(ref(Tally, key).add.sync(1)))


urlpatterns = [path("add/<int:key>", add)]


@override_settings(ROOT_URLCONF=__name__)
class WithALiveServer(LightMoonTestMixin, LiveServerTestCase):
    """B65, B68: the server's threads ask, the test's own watches."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(real_threads())
        super().setUpClass()

    def press(self, row: Tally) -> str:
        with urllib.request.urlopen(f"{self.live_server_url}/add/{row.pk}", timeout=10) as response:
            return str(response.read().decode())

    def test_the_server_and_the_test_share_the_node(self) -> None:
        row = Tally.objects.create()
        self.assertEqual(self.press(row), "1")
        row.add.tell(1)
        self.settle()
        self.assertEqual(self.press(row), "3")
        self.assertEqual([name for name, _ in self.events.of(row)], ["added"] * 3)

    def test_the_clock_and_faults_are_the_servers_too(self) -> None:
        row = Tally.objects.create()
        self.clock.advance(1)
        self.assertEqual(self.press(row), "1")
        self.clock.advance(400)
        self.assertIn(("deactivate", str(row.pk)), Probe.log)
        with self.faults.fail_commit(row), self.assertRaises(InternalError):
            row.add.sync(1)
        self.assertEqual(self.press(row), "2")

    async def test_the_node_may_live_on_the_tests_own_loop(self) -> None:
        row = await Tally.objects.acreate()
        self.assertIsNotNone(host.on_this_loop())
        ref(Tally, row.pk).add.tell(1)
        await self.asettle()
        self.assertEqual(await ref(Tally, row.pk).add(1), 2)
        await host.shut_down(grace=1.0)
