"""One set of messages on three kinds of actors, so that each case runs on every backend."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, ClassVar

from django.db import models, transaction
from rest_framework.permissions import IsAdminUser

from lightmoon_django import actor, event, message, ref, turn
from lightmoon_django.errors import Rejected


class Probe:
    """What the tests watch and steer from outside: hooks that ran, gates that hold a handler."""

    log: ClassVar[list[Any]] = []
    gates: ClassVar[dict[str, asyncio.Event]] = {}
    activate: ClassVar[Any] = None
    deactivate: ClassVar[Any] = None

    @classmethod
    def clear(cls) -> None:
        cls.log.clear()
        cls.gates.clear()
        cls.activate = cls.deactivate = None

    @classmethod
    def gate(cls, name: str) -> asyncio.Event:
        return cls.gates.setdefault(name, asyncio.Event())


class TallyMessages:
    """Mixed into a model and into a plain class."""

    count: Any
    name: Any
    data: Any

    async def on_activate(self) -> None:
        Probe.log.append(("activate", self.lightmoon_key))  # type: ignore[attr-defined]
        if Probe.activate is not None:
            await Probe.activate(self)

    async def on_deactivate(self) -> None:
        Probe.log.append(("deactivate", self.lightmoon_key))  # type: ignore[attr-defined]
        if Probe.deactivate is not None:
            await Probe.deactivate(self)

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        """Add `n`."""
        self.count += n
        self.added(n=n, count=self.count)
        return self.count

    @message(read_only=True)
    async def get(self) -> int:
        return self.count

    @message(read_only=True)
    async def time_left(self) -> float:
        return turn.deadline.total_seconds()

    @message
    async def get_data(self) -> dict[str, Any]:
        return self.data

    @message
    async def note(self, item: str) -> int:
        """Append to the JSON field."""
        self.data.setdefault("items", []).append(item)
        return len(self.data["items"])

    @message
    async def rename(self, name: str) -> None:
        self.name = name

    @message
    async def hold(self, gate: str, n: int = 1) -> int:
        """Change, then wait until the test opens the gate."""
        self.count += n
        Probe.log.append(("holding", gate))
        await Probe.gate(gate).wait()
        return self.count

    @message
    async def fail_after_change(self) -> None:
        self.count += 1000
        self.data["broken"] = {"deep": [1, 2]}
        self.added(n=1000, count=self.count)
        raise Rejected("No.", code="refused", data={"at": 7})

    @message
    def fail_in_thread(self) -> None:
        self.count += 1000
        self.added(n=1000, count=self.count)
        raise Rejected("No.")

    @message(timeout=0.05)
    async def announce_and_hang(self) -> None:
        self.count += 1000
        self.added(n=1000, count=self.count)
        await asyncio.Event().wait()

    @message
    async def bug(self) -> None:
        self.count += 1000
        raise ZeroDivisionError("secret detail")

    @message
    async def wrong_result(self) -> int:
        self.count += 1000
        return "not a number"  # type: ignore[return-value]

    @message
    async def keep(self, items: list[str]) -> list[str]:
        """Hand out the very list that it keeps changing."""
        items.append("mine")
        Probe.log.append(items)
        return items

    @message
    async def record(self, item: int) -> None:
        Probe.log.append(item)
        if item == 0:
            await Probe.gate("record").wait()

    @message
    async def ask_other(self, other: str, via: str | None = None) -> int:
        """Ask another one, or (with `via`) make that one ask further."""
        found = ref(type(self), other)
        return await (found.ask_other(via) if via is not None else found.add(1))

    @message
    async def tell_other(self, other: str, then_fail: bool = False) -> None:
        ref(type(self), other).add.tell(1)
        self.count += 1
        if then_fail:
            raise Rejected("After the tell.")

    @message
    async def inline(self) -> int:
        await self.add(1)
        return await self.add(1)

    @message(read_only=True)
    async def look(self, gate: str) -> int:
        """Read, wait until the test opens the gate, and read again."""
        before = self.count
        Probe.log.append(("looking", gate))
        await Probe.gate(gate).wait()
        assert self.count == before, "a writer came in between"
        return before

    @message(read_only=True)
    async def look_through(self, other: str) -> int:
        """Ask another one, which asks back."""
        return await ref(type(self), other).look_back(self.lightmoon_key)  # type: ignore[attr-defined]

    @message
    async def look_back(self, other: str) -> int:
        return await ref(type(self), other).get()

    @message
    async def call_through(self, other: str, back: str = "come_back", n: int = 1, fail: str = "") -> int:
        """Change, ask another one that calls back, and change again."""
        self.count += 100
        answer = await ref(type(self), other).call_back(self.lightmoon_key, back, n)  # type: ignore[attr-defined]
        if fail:
            raise Rejected(fail)
        self.count += 1000
        return answer

    @message
    async def call_back(self, other: str, back: str, n: int) -> int:
        self.count += 1
        try:
            return await getattr(ref(type(self), other), back)(n)
        except Rejected as error:
            return -int(error.data)

    @message
    def call_through_blocking(self, other: str, n: int = 1) -> int:
        """A plain method that asks another one that calls back."""
        self.count += 100
        return ref(type(self), other).call_back.sync(self.lightmoon_key, "come_back", n)  # type: ignore[attr-defined]

    @message(reentrant=True)
    async def come_back(self, n: int) -> int:
        self.count += n
        self.added(n=n, count=self.count)
        return self.count

    @message(reentrant=True)
    async def come_back_failing(self, n: int) -> int:
        self.count += n
        self.data["broken"] = True
        self.added(n=n, count=self.count)
        raise Rejected("No.", data=n)

    @message(reentrant=True)
    async def come_back_waiting(self, n: int) -> int:
        self.count += n
        Probe.log.append(("came back", n))
        await Probe.gate("back").wait()
        return self.count

    @message
    async def leave_while_inside(self, other: str) -> None:
        """End while a call that came back is still running."""
        asked = asyncio.ensure_future(ref(type(self), other).call_back(self.lightmoon_key, "come_back_waiting", 7))  # type: ignore[attr-defined]
        while ("came back", 7) not in Probe.log:
            await asyncio.sleep(0)
        self.count += 1
        Probe.log.append(asked)

    @message
    async def dig(self, depth: int) -> int:
        """Call itself inline."""
        self.count += 1
        return depth if depth == 0 else await self.dig(depth - 1)

    @message
    async def chain(self, keys: list[str]) -> int:
        """Ask along a list of actors."""
        self.count += 1
        return 0 if not keys else 1 + await ref(type(self), keys[0]).chain(keys[1:])

    @message
    async def note_commits(self, fail: bool = False) -> None:
        self.count += 1
        count = self.count

        async def later() -> None:
            Probe.log.append(("async callback", count))

        turn.on_commit(lambda: Probe.log.append(("callback", threading.current_thread() is threading.main_thread())))
        turn.on_commit(later)
        if fail:
            raise Rejected("Nothing happened.")

    @message
    def ask_blocking(self, other: str, gate: str) -> int:
        """A plain method that waits for another actor."""
        self.count += 1
        return ref(type(self), other).hold.sync(gate)

    @message
    def blocking(self, n: int, seconds: float = 0.0) -> int:
        """A plain method: runs in a worker thread."""
        Probe.log.append(("thread", threading.current_thread().name))
        time.sleep(seconds)
        self.count += n
        return self.count

    @message
    async def leave_task(self) -> None:
        """Leave work behind that outlives the turn."""

        async def later() -> None:
            await Probe.gate("later").wait()
            Probe.log.append(("later", repr(turn)))

        Probe.log.append(asyncio.create_task(later()))

    @message
    async def own_timeout(self) -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "never"

    @message
    async def groups(self) -> int:
        async def one() -> int:
            await asyncio.sleep(0)
            return 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one()) for _ in range(3)]
        return sum(task.result() for task in tasks)

    @message
    async def whisper(self, text: str) -> None:
        self.whispered(text=text)
        self.said(length=len(text))

    @event(permission_classes=[IsAdminUser])
    def whispered(self, text: str) -> None:
        """For the staff only."""

    @event
    def said(self, length: int) -> None:
        """For everybody."""

    @event
    def added(self, n: int, count: int) -> None:
        """The count changed."""


@actor(view=["count", "name"])
class Tally(TallyMessages, models.Model):
    count = models.IntegerField(default=0)
    name = models.CharField(max_length=20, default="", blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=~models.Q(count=13), name="live_unlucky"),)

    @message
    async def with_log(self, text: str, fail: bool = False) -> None:
        """Change itself and another row in one commit."""
        self.count += 1
        turn.save(Log(text=text))
        if fail:
            raise Rejected("After the save.")

    @message(once=True)
    async def pay(self, n: int) -> int:
        """Counted once for each call id."""
        Probe.log.append(("pay", n))
        self.count += n
        return self.count

    @message(once=True)
    def pay_blocking(self, n: int) -> int:
        self.count += n
        return self.count

    @message
    async def send_pay(self, other: str, n: int, fail: bool = False) -> None:
        """A durable tell."""
        self.count += 1
        ref(Tally, other).pay.tell(n)
        if fail:
            raise Rejected("After the tell.")

    @message
    async def write_by_itself(self, text: str) -> None:
        """Use the ORM, but not in the turn's commit."""
        await Log.objects.acreate(text=text)
        raise Rejected(f"After {await Log.objects.acount()}.")

    @message
    def write_log(self, text: str, fail: bool = False) -> int:
        """Use the ORM freely, in the turn's transaction."""
        self.count += 1
        Log.objects.create(text=text)
        if fail:
            raise Rejected("After the write.")
        return Log.objects.count()

    @message
    def read_then_ask(self, other: str, write_first: bool = False) -> int:
        """A plain method that uses the ORM and asks another actor."""
        if write_first:
            Log.objects.create(text="first")
        self.count += Log.objects.count()
        return ref(Tally, other).add.sync(1)

    @message
    def ask_within(self, other: str) -> int:
        """Read and ask inside a block that ends as a whole."""
        with transaction.atomic(using=Log.objects.db):
            self.count += Log.objects.count()
            return ref(Tally, other).add.sync(1)

    @message(read_only=True)
    async def look_and_log(self, text: str) -> int:
        turn.save(Log(text=text))
        return self.count

    @message
    async def save_itself(self) -> None:
        self.save()


@actor(create=True, presence=["username"])
class Lounge(models.Model):
    name = models.CharField(primary_key=True, max_length=40)

    @message(exposed=True)
    async def visitors(self) -> dict[str, int]:
        return {found.info.get("username", ""): len(found.connections) for found in turn.presence.values()}


@actor(create=True, view={"guest": ["title"], "staff": ["title", "reserve"]})
class Lot(models.Model):
    name = models.CharField(primary_key=True, max_length=40)
    title = models.CharField(max_length=40, default="Lamp")
    reserve = models.IntegerField(default=0)

    def view_for(self, user: Any) -> str:
        return "staff" if user.is_staff else "guest"

    @message
    async def alter(self, title: str, reserve: int) -> None:
        self.title, self.reserve = title, reserve


@actor(create=True)
class Made(models.Model):
    name = models.CharField(primary_key=True, max_length=40)
    count = models.IntegerField(default=0)

    @message
    async def add(self, n: int = 1) -> int:
        self.count += n
        return self.count


@actor(view=["count", "name"])
class Scratch(TallyMessages):
    """The same in memory only."""

    count: int = 0
    name: str = ""
    data: dict[str, Any] = {}


class Log(models.Model):
    text = models.CharField(max_length=50)


@actor(view=["count", "data"])
class Odd:
    """In memory, with a view that can hold anything, and with messages that misuse their task."""

    count: int = 0
    data: dict[str, Any] = {}

    @message
    async def spoil(self) -> int:
        self.data = {"x": object()}
        return 1

    @message
    async def save_other(self) -> int:
        turn.save(Log(text="from memory"))
        return 1

    @message
    async def kill_self(self) -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 1

    @message
    async def later_cancel(self) -> int:
        """An async generator kept open around asyncio.timeout(), as a library's stream may be."""

        async def stream() -> Any:
            async with asyncio.timeout(0.05):
                yield 1
                yield 2

        self.kept = stream()
        return await self.kept.__anext__()

    @message
    async def one(self) -> int:
        return 1

    @message
    async def slow(self, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return 2

    @message
    async def forever(self) -> int:
        await asyncio.Event().wait()
        return 1


@actor
class Owned(models.Model):
    """Refers to a row that other code writes, and has a column that the database computes."""

    tally = models.ForeignKey(Tally, on_delete=models.CASCADE)
    count = models.IntegerField(default=0)
    double = models.GeneratedField(
        expression=models.F("count") * 2, output_field=models.IntegerField(), db_persist=True
    )

    @message
    def pay(self, fail: bool = False) -> int:
        self.tally.count -= 5
        self.tally.save()
        if fail:
            raise Rejected("no")
        return self.tally.count

    @message
    def hook(self, other: str) -> int:
        Log.objects.create(text="first")
        transaction.on_commit(lambda: ref(Tally, other).add.sync(1))
        return 1

    @message
    async def add(self) -> int:
        self.count += 1
        return self.count

    @message
    async def get_double(self) -> int:
        return self.double

    @message
    async def idle(self, gate: str) -> int:
        Probe.log.append(("idling", gate))
        await Probe.gate(gate).wait()
        return 1


@actor(view=["count"])
class Picky(models.Model):
    """Refuses by what it holds."""

    count = models.IntegerField(default=0)

    @message
    async def must_be(self, n: int) -> int:
        if self.count != n:
            raise Rejected(f"it is {self.count}", data=self.count)
        return self.count

    @message
    def peek(self) -> int:
        return self.count


from tests.live import bazaar, placed, timed  # noqa: E402, F401
