"""The node: everything of the runtime in one process, on one event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from lightmoon_django.actor.call import Call, Unsubscription
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.actor.turn import Turn
from lightmoon_django.clock import Clock
from lightmoon_django.conf import Settings
from lightmoon_django.errors import Cancelled, DeadlockError, LightMoonError, Unavailable
from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import AccessChange, Guarded
from lightmoon_django.persistence.driver import StoreQueue
from lightmoon_django.persistence.store import Columns
from lightmoon_django.runtime import deadlock, recovery
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.barriers import Barriers
from lightmoon_django.runtime.callbacks import Callbacks
from lightmoon_django.runtime.catalog import SCAN_PERIOD, Catalog
from lightmoon_django.runtime.deadlines import Deadlines
from lightmoon_django.runtime.execution import Runners
from lightmoon_django.runtime.handover import Expected, Handover, Moves
from lightmoon_django.runtime.history import Retention
from lightmoon_django.runtime.outgoing import OutgoingTells
from lightmoon_django.runtime.presence import Presences
from lightmoon_django.runtime.reminders import Reminders
from lightmoon_django.runtime.sharing import Sharing
from lightmoon_django.runtime.states import ActivationState
from lightmoon_django.runtime.streams import Subscriber
from lightmoon_django.runtime.surroundings import Elsewhere, Lease, Storage
from lightmoon_django.runtime.whereabouts import Told, Whereabouts
from lightmoon_django.runtime.workers import WorkerPool

logger = logging.getLogger("lightmoon")

VERIFY_AFTER = 1.0  # seconds that an unwritten row is trusted without a look at the database


class Node:
    """Runs actors. All methods are called on its loop unless they say otherwise."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        settings: Settings,
        lease: Lease,
        storage: Storage,
        workers: WorkerPool,
        tidy: Callable[[], None] = lambda: None,
        debug: bool = False,
        verify_after: float = VERIFY_AFTER,
    ) -> None:
        """`tidy` is called in a worker thread after code of the project's ran there, outside any turn."""
        self.loop = loop
        self.clock = clock
        self.settings = settings
        self.lease = lease
        self.debug = debug
        self.verify_after = verify_after
        self.catalog = Catalog(self)
        self.runners = Runners(loop, clock.monotonic)
        self.deadlines = Deadlines(clock, settings.ACTIVATE_TIMEOUT)
        self.barriers = Barriers(workers)
        self.callbacks = Callbacks(loop, workers, tidy)
        self.outgoing = OutgoingTells(self)
        self.reminders = Reminders(self, self.outgoing.deliver)
        self.presences = Presences(self)
        self.observers: list[Callable[[Activation, Turn], object]] = []  # hear of each turn as it is released
        self.retention = Retention(
            messages=settings.HISTORY,
            seconds=settings.HISTORY_SECONDS,
            size=settings.HISTORY_BYTES,
            monotonic=clock.monotonic,
        )
        self.stopping = False
        self.finishing = False  # it is stopping, and what runs may still send
        self.ending = False  # `stop` was called
        self.ticking = True  # False: a test owns the time, but gave no clock; then no timer ticks
        self._storage = storage
        self._workers = workers
        self.elsewhere: Elsewhere | None = None  # the other nodes, where there are any
        self.handover: Handover | None = None  # while this one stops, and others stay
        self.moves = Moves(self)  # single actors on their way to other nodes
        self.expected = Expected(clock.monotonic)
        self._whereabouts = Whereabouts(self)
        self._columns: dict[ActorSchema, Columns] = {}
        self._scan = clock.call_at(clock.monotonic() + SCAN_PERIOD, self._scan_idle)

    @property
    def idle(self) -> bool:
        """Nothing is on its way to a store, and no turn or `on_commit` callback is about to run."""
        return self._storage.idle and self.callbacks.idle and not self.runners.ready

    def post(self, call: Call, *, told: bool = False) -> None:
        """Deliver a call. Never raises; exactly one of its `resolve` and `reject` follows, perhaps within this call.

        `told`: a turn of this node has told it. That goes on, as its asks do, until the node has ended.
        """
        if call.cancelled:
            call.reject(Cancelled("The caller cancelled the call before it ran."))
            return
        activation = self.catalog.get((call.schema.name, call.key))
        if activation is not None and activation.guard is not None and not activation.guard():
            self.catalog.replace(activation, [], "rolled back")
            activation = None
        if activation is None:
            if len(self.moves) and self.moves.takes(call.schema, call.key, [call]):
                return
            if self.handover is not None:
                self.handover.take(call.schema, call.key, [call])
                return
            if self.elsewhere is not None and self.elsewhere.takes(call):
                return
            if self.stopping and not (self.finishing and (told or call.origin is not None)):
                call.reject(Unavailable("This process is stopping.", retry_after=1.0))
                return
            try:
                activation = self.catalog.open(call.schema, call.key, creates=call.creates)
            except LightMoonError as error:
                call.reject(error)
                return
        activation.receive(call)

    def send(self, call: Call) -> None:
        """Deliver an ask from a turn: it leaves once all earlier turns of the asking actor are durable."""
        origin = call.origin
        if origin is not None and origin.running and origin.activation.gate:
            origin.activation.gate.depart(call)
        else:
            self.post(call)

    def cancel(self, call: Call) -> None:
        """Take a call back, where it is not too late."""
        call.cancelled = True
        if self.elsewhere is not None and self.elsewhere.cancel(call):
            return
        activation = self.catalog.get((call.schema.name, call.key))
        if activation is not None:
            activation.cancel(call)

    def unsubscribe(self, schema: ActorSchema, key: str, subscriber: Subscriber, user: Any) -> None:
        """Forget a subscriber at once, and tell the actor if its class wants to know."""
        activation = self.catalog.get((schema.name, key))
        if activation is not None and activation.subscribed and activation.stream.leave(subscriber.id):
            self.left(activation, subscriber.id, user)
        elif self.elsewhere is not None:
            self.elsewhere.unsubscribe(Address(schema.name, key), subscriber.id, user)

    def describe(self, address: Address, subscriber: Subscriber, meta: Mapping[str, Any]) -> None:
        """A subscriber says something else of itself, which others are shown."""
        activation = self.catalog.get(address)
        if activation is not None and activation.subscribed and subscriber.id in activation.stream.subscribers:
            self.presences.describe(address, subscriber.id, meta)
        elif self.elsewhere is not None:
            self.elsewhere.describe(address, subscriber.id, meta)

    def follower_described(self, address: Address, subscriber: str, meta: Mapping[str, Any]) -> None:
        """A session on another node says something else of itself."""
        self.presences.describe(address, subscriber, meta)

    def follower_left(self, address: Address, outlet: str, subscriber: str, user: Any) -> None:
        """A session on another node has left; `outlet` stands for that node if it was the last one there."""
        activation = self.catalog.get(address)
        if activation is None:
            self.presences.left(address, subscriber)
        else:
            if outlet and activation.subscribed:
                activation.stream.leave(outlet)
            self.left(activation, subscriber, user)

    def missed(self, address: Address, since: Position) -> list[str | Guarded] | None:
        """The frames of an actor's stream after a position; None when they are not held any more."""
        activation = self.catalog.get(address)
        if activation is None or not activation.followed:
            return None
        found = activation.stream.missed(since)
        return None if found and activation.audience is not None else found  # what each saw is not held

    def left(self, activation: Activation, subscriber: str, user: Any) -> None:
        """A subscriber has left: tell the actor, if its class wants to know."""
        self.presences.left(activation.address, subscriber)
        if activation.audience is not None:
            activation.audience.leave(subscriber)
        message = activation.schema.lifecycle.get("on_unsubscribe")
        if message is not None:
            deadline = self.clock.monotonic() + self.settings.CALL_TIMEOUT
            activation.receive(Unsubscription(message, activation.key, (), b"", deadline, caller=subscriber, user=user))

    def announce(self, change: AccessChange) -> None:
        """Tell the other nodes, if there are any."""
        if self.elsewhere is not None:
            self.elsewhere.announce(change)

    def claim_due(self) -> None:
        """Another node has found that reminders are due whose actors are here."""
        self.reminders.look()

    def expect(self, addresses: list[Address]) -> None:
        """Another node gives these actors up, and what they remember of repeated calls may come here."""
        for address in addresses:
            self.expected.add(address)

    def evict(self, schema: ActorSchema, key: str) -> None:
        """Somebody else wrote the row: the actor's next turn runs on what is stored."""
        activation = self.catalog.get((schema.name, key))
        if activation is not None:
            activation.distrust()

    def distrust_all(self, store: StoreQueue) -> None:
        """A lease is lost: every actor of that store is loaded anew, by the next incarnation, when it is called."""
        for activation in self.catalog:
            if activation.directory is not store:
                continue
            if activation.store is not None or activation.state is ActivationState.LOADING:
                activation.distrust()
            else:  # it lives in memory only: nothing brings back what it had
                recovery.lose(activation, "Its process has lost its lease.")

    def deadlock(self, call: Call, target: Activation) -> DeadlockError | None:
        return deadlock.find(call, target, self.catalog.get)

    def find(self, address: Address) -> Activation | None:
        return self.catalog.get(address)

    def store_of(self, schema: ActorSchema) -> StoreQueue | None:
        return self._storage.queue(schema)

    def directory_of(self, schema: ActorSchema) -> StoreQueue | None:
        """The store that says who has an actor of that class; None where no other process could have it."""
        return self._storage.directory(schema)

    @property
    def alone(self) -> bool:
        """Whether this process has all actors in memory only, without a claim on each."""
        return self._storage.alone

    def share(self) -> None:
        """Other processes are there: let them have actors in memory only, too."""
        found = self._storage.end_solitude()
        if found is not None:
            Sharing(self, *found).begin()

    def places(self, schema: ActorSchema) -> bool:
        """Whether actors of that class live in one process only, out of several."""
        return self._storage.directory(schema) is not None

    def columns_of(self, schema: ActorSchema) -> Columns:
        found = self._columns.get(schema)
        if found is None:
            found = self._columns[schema] = self._storage.columns(schema)
        return found

    # Where its actors live

    @property
    def hosting(self) -> bool:
        """Whether actors come to live here at all."""
        return self.elsewhere is None or self.elsewhere.hosting

    @property
    def load(self) -> int:
        """How many actors are in memory. From any thread."""
        return len(self.catalog)

    @property
    def moving(self) -> int:
        """How many are on their way to other nodes."""
        return len(self.moves)

    def owner(self, schema: ActorSchema, key: str, told: Told) -> None:
        """Ask which living incarnation owns a row: 0 is this node's own, None nobody's."""
        directory = self.directory_of(schema)
        assert directory is not None
        self._whereabouts.ask(schema, key, directory, told)

    def movable(self, limit: int, wanted: Callable[[ActorSchema], bool]) -> list[Activation]:
        """Some actors that nothing is under way of, out of the next `limit`, in turn."""
        return self.catalog.movable(limit, wanted)

    def move(self, activation: Activation, target: int) -> None:
        """Let an actor go on at another node."""
        self.moves.begin(activation, target)

    def release(self, call: Call) -> None:
        """Give the row of an actor that isn't in memory back, if it is this node's; then the call goes on."""
        self.moves.release(call.schema, call.key, [call])

    def schemas(self) -> list[ActorSchema]:
        """Of the actors that this node has had in memory."""
        return list(self._columns)

    def guard(self) -> Callable[[], bool] | None:
        return self._storage.guard()

    async def stop(self, grace: float = 10.0) -> None:
        """Let every activation finish, store and leave; then give the rows back. After `grace` seconds, just end.

        Where other nodes stay, what is queued goes to them; else it is finished here. Again: does nothing.
        """
        if self.ending:
            return
        self.ending = True
        until = self.clock.monotonic() + grace
        if self.elsewhere is not None and grace and await self.elsewhere.company():
            self.handover = Handover(self, self.elsewhere)
        self.stopping = self.finishing = True  # only now: until it is known who stays, calls are taken as ever
        self._scan.cancel()
        await self.reminders.stop()
        while self.clock.monotonic() < until:
            for activation in self.catalog:
                if not activation.mailbox or self.handover is not None:
                    self.catalog.deactivate(activation)
            if not len(self.catalog) and not self.handover and not self.moves:
                break
            await asyncio.sleep(0.005)
        self.finishing = False
        if grace and len(self.catalog):
            logger.warning(
                "%d actors did not come to their end within %g s.",
                len(self.catalog),
                grace,
                extra={"action": "stop_timeout"},
            )
        if self.elsewhere is not None:
            await self.elsewhere.drain(until)
        self._storage.discard()
        for activation in self.catalog:
            recovery.end(activation, Unavailable("This process is stopping.", retry_after=1.0))
        await self.reminders.give_back()
        self.deadlines.stop()
        self.runners.stop()
        if self.elsewhere is not None:
            await self.elsewhere.stop()
        await asyncio.to_thread(self._stop_threads)

    def _stop_threads(self) -> None:
        self._workers.stop()
        self._storage.stop()

    def _scan_idle(self) -> None:
        self.catalog.scan()
        self._scan = self.clock.call_at(self.clock.monotonic() + SCAN_PERIOD, self._scan_idle)
