"""The sleeper of one database: claims what is due, and sleeps until the next is.

It looks when the earliest due time has come that it knows of, and once a second for those that other nodes store.
What it claims is in no other node's claim for as long as its call may take. How often something was claimed is counted
by the claim itself, so that a reminder whose turn ends the process every time is counted as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.cadence import SECOND, moment
from lightmoon_django.clock import Cancellable
from lightmoon_django.errors import ActorNotFound, DeadlineExceeded, LightMoonError
from lightmoon_django.persistence.driver import StoreQueue
from lightmoon_django.persistence.records import Due, DueReminder, StaleReminder
from lightmoon_django.persistence.store import Store
from lightmoon_django.runtime.failure import for_operators

if TYPE_CHECKING:
    from lightmoon_django.runtime.node import Node
    from lightmoon_django.runtime.reminders import ReminderCall, Reminders

logger = logging.getLogger("lightmoon")

POLL = 1.0  # seconds until others' reminders are seen at the latest
GRAIN = 0.001  # seconds past the due time that an alarm rings, so that the wall clock agrees
PASSED_OVER = 0.1  # seconds until rows are tried again that somebody's open transaction holds
CLAIM = 30.0  # seconds past its call's deadline that a claim holds
IN_FLIGHT = 500  # reminders of one database that are under way at once
BACK_OFF = 1.0  # seconds until a failed one is tried again, doubling
LONGEST_BACK_OFF = 60.0  # seconds
SHORTLY = 1.0  # seconds until one is tried again of which nothing has happened

STOP_GRACE = 1.0  # seconds that a database which hangs may hold up the node's end

NEVER = float("inf")


class Sleeper:
    """What is due in one database, for one node. All methods run on the node's loop."""

    def __init__(self, node: Node, reminders: Reminders, queue: StoreQueue) -> None:
        self.queue = queue
        self._node = node
        self._reminders = reminders
        self._claim_for = reminders.claim_for() + CLAIM
        self._alarm: Cancellable | None = None
        self._wakes_at = NEVER  # the moment that the alarm is set to
        self._hint = NEVER  # the earliest moment that was stored while a look was under way
        self._looking = False
        self._starved = False  # there was more to claim than room
        self.paused: set[tuple[str, str]] = set()  # actors of that database, as of the last look
        self._in_flight: dict[int, DueReminder] = {}  # by the identity of each claim
        self._giving_back = 0  # claims of which the store is being told
        self._away = False  # the database can't be asked
        self._stopped = False
        self._change = asyncio.Event()  # something came to an end

    # Its sleep

    def start(self) -> None:
        """Look now, and from now on."""
        self._look()

    def wake_by(self, when: float) -> None:
        """Something is due then."""
        if self._looking:
            self._hint = min(self._hint, when)
        elif when < self._wakes_at and not self._stopped and self._wakes_at != NEVER:
            self._sleep_until(when)

    async def stop(self) -> None:
        """Claim nothing more. What a look that is under way claims is given back."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
        await self._until_told(lambda: not self._looking)

    def _now(self) -> int:
        return moment(self._node.clock.now())

    def _sleep_until(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._wakes_at = when
        delay = max(0.0, (when - self._now()) / SECOND) + GRAIN
        self._alarm = self._node.clock.call_at(self._node.clock.monotonic() + delay, self._look)

    def _look(self) -> None:
        room = IN_FLIGHT - len(self._in_flight)
        if self._looking or self._stopped:
            return
        if not self._node.hosting:  # others fire reminders, where the actors are
            self._sleep(self._now(), NEVER)
            return
        if room <= 0:
            self._starved = True
            return
        self._looking, self._starved, self._hint = True, False, NEVER
        now, until = self._now(), self._until(self._now())
        self.queue.query(lambda store: _claim(store, now, until, room), lambda found: self._seen(now, found))

    def _until(self, now: int) -> int:
        return now + round(self._claim_for * SECOND)

    def _seen(self, now: int, found: Any) -> None:
        """The look has ended."""
        self._looking = False
        self._change.set()
        if isinstance(found, BaseException):
            self._complain(found)
            self._sleep(now, NEVER)
            return
        self._away = False
        due, then, self.paused = found
        for one in due:
            if self._stopped:
                self._give_back(one, now)
            else:
                self._deliver(one, now)
        if then is not None and then <= now and not due:
            then = now + round(PASSED_OVER * SECOND)
        self._sleep(now, NEVER if then is None else then)

    def _sleep(self, now: int, then: float) -> None:
        if not self._stopped:
            self._sleep_until(min(then, self._hint, now + round(POLL * SECOND)))

    def _complain(self, error: BaseException) -> None:
        if not self._away:
            self._away = True
            logger.warning("Reminders wait for the database: %s", error, extra={"action": "reminders_wait"})

    # What it has claimed

    async def next_due(self) -> int | None:
        """When the earliest reminder or tell is due. None: never, or the database doesn't answer."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.queue.query(lambda store: store.next_due(), answer.set_result)
        found = await answer
        return None if isinstance(found, BaseException) else found

    async def fire(self, now: int) -> int:
        """Claim what is due by then, send it, and wait until all of it has ended. How many there were."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        until, limit = self._until(now), IN_FLIGHT - len(self._in_flight)
        self.queue.query(lambda store: (store.due(now, until, limit), store.paused()), answer.set_result)
        found = await answer
        if isinstance(found, BaseException):
            self._complain(found)
            return 0
        self._away = False
        due, self.paused = found
        for one in due:
            self._deliver(one, now)
        while self._in_flight:
            self._change.clear()
            await self._change.wait()
        return len(due)

    def _deliver(self, due: Due, now: int) -> None:
        if isinstance(due, DueReminder):
            self._in_flight[id(due)] = due
        try:
            self._reminders.deliver(self, due, now)
        except Exception as error:  # as of a class that is declared wrongly: it must hold up no other
            logger.exception("What is due could not be sent.", extra={"action": "due_not_sent"})
            if isinstance(due, DueReminder):
                self.retry(due, f"{type(error).__name__}: {error}")

    async def give_back(self) -> None:
        """The node ends with calls under way: others needn't wait for the end of its claims."""
        for due in self._in_flight.values():
            self._give_back(due, self._now())
        await self._until_told(lambda: not self._giving_back)

    async def _until_told(self, condition: Callable[[], bool]) -> None:
        """Wait for the store, but not for one that hangs."""
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(STOP_GRACE):
                while not condition():
                    self._change.clear()
                    await self._change.wait()

    def _give_back(self, due: Due, now: int) -> None:
        def done(outcome: Any) -> None:
            self._giving_back -= 1
            self._change.set()
            self._noted(outcome)

        self._giving_back += 1
        self.queue.query(lambda store: store.postpone(due, now, "", counts=False), done)

    def fired(self, call: ReminderCall) -> None:
        """Its turn is durable."""
        self._reminders.remember(call.due)
        self._ended(call.due)

    def outdated(self, call: ReminderCall) -> None:
        """It was cancelled, set anew, or fired elsewhere."""
        self._ended(call.due)

    def failed(self, call: ReminderCall, error: LightMoonError) -> None:
        """Its turn left no trace, or that can't be told."""
        due = call.due
        if isinstance(error.__cause__, StaleReminder):
            self.outdated(call)
        elif isinstance(error, ActorNotFound) and not call.began:
            self._bury(due, f"{error} A reminder makes no row.", None)
        elif error.retryable and not call.began:  # the actor is elsewhere or busy; that is not the reminder's fault
            self._postpone(due, max(error.retry_after or 0.0, SHORTLY), str(error), counts=False)
        elif error.retryable and not isinstance(error, DeadlineExceeded):
            self.retry(due, str(error), max(error.retry_after or 0.0, SHORTLY))
        else:
            self.retry(due, for_operators(error))

    def left_to(self, call: ReminderCall, node: int) -> None:
        """Its actor is at that node, which claims it next. 0: that isn't known, and somebody tries again soon."""
        due, elsewhere = call.due, self._node.elsewhere
        error = f"{call.address} is in the memory of another live process."
        if not node or elsewhere is None:
            self._postpone(due, SHORTLY, error, counts=False)
            return
        now = self._now()
        self._write(
            due,
            lambda store: store.postpone(due, now, error, counts=False),
            lambda: elsewhere.tell_due(node),
        )

    def retry(self, due: DueReminder, error: str, delay: float | None = None) -> None:
        """Try it again later, or never if it was tried too often. `delay` takes the back-off's place."""
        if due.attempts >= self._node.settings.DEAD_LETTER_ATTEMPTS:
            self.bury(due, error)
        elif delay is not None:
            self._postpone(due, delay, error)
        else:
            self._postpone(due, min(BACK_OFF * 2 ** (due.attempts - 1), LONGEST_BACK_OFF), error)

    def bury(self, due: DueReminder, error: str) -> None:
        """Give this firing up. A periodic reminder goes on."""
        self._bury(due, error, self._reminders.after(due, self._now()))

    def _bury(self, due: DueReminder, error: str, then: int | None) -> None:
        logger.error(
            "The reminder %r of %s:%s is a dead letter: %s",
            due.name,
            due.actor,
            due.key,
            error,
            extra={"action": "dead_letter", "actor": f"{due.actor}:{due.key}"},
        )
        self._write(
            due, lambda store: store.bury(due, error, then), lambda: self.wake_by(NEVER if then is None else then)
        )

    def _postpone(self, due: DueReminder, delay: float, error: str, *, counts: bool = True) -> None:
        wake_at = self._now() + round(delay * SECOND)
        self._write(
            due, lambda store: store.postpone(due, wake_at, error, counts=counts), lambda: self.wake_by(wake_at)
        )

    def _write(self, due: DueReminder, job: Callable[[Store], None], then: Callable[[], None]) -> None:
        """Note what becomes of it: again while the database doesn't take that, as long as the claim may hold."""
        until = self._node.clock.monotonic() + self._claim_for

        def done(outcome: Any) -> None:
            again = self._node.clock.monotonic() + SHORTLY
            self._noted(outcome)
            if isinstance(outcome, BaseException) and again < until and not self._stopped:
                self._node.clock.call_at(again, lambda: self.queue.query(job, done))
                return
            self._ended(due)
            then()

        self.queue.query(job, done)

    @staticmethod
    def _noted(outcome: Any) -> None:
        if isinstance(outcome, BaseException):
            logger.warning("A reminder's fate could not be noted: %s", outcome, extra={"action": "reminder_not_noted"})

    def _ended(self, due: DueReminder) -> None:
        self._in_flight.pop(id(due), None)
        self._change.set()
        if self._starved and len(self._in_flight) <= IN_FLIGHT // 2:
            self._look()


def _claim(store: Store, now: int, until: int, limit: int) -> tuple[list[Due], int | None, set[tuple[str, str]]]:
    """What is due, when the next will be, and who is paused. In the store's thread."""
    earliest, paused = store.next_due(), store.paused()
    if earliest is None or earliest > now:
        return [], earliest, paused
    return store.due(now, until, limit), store.next_due(), paused
