"""One actor in memory: its instance, its mailbox, and the turn that runs.

What happens inside one turn stands in `execution` and `barriers`; who may overlap whom, in `overlap`; between the end
of a turn and its release, in `gate`; when something that turns built on is gone, in `recovery`; where activations come
from and go to, in `catalog`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.turn import Turn, TurnState
from lightmoon_django.errors import Cancelled, Conflict, DeadlineExceeded, LightMoonError, Overloaded
from lightmoon_django.identity import Address
from lightmoon_django.persistence.store import Columns, Committed, Snapshot
from lightmoon_django.runtime import overlap
from lightmoon_django.runtime.audience import Audience
from lightmoon_django.runtime.failure import explained
from lightmoon_django.runtime.gate import Gate
from lightmoon_django.runtime.release import release
from lightmoon_django.runtime.repeats import Repeats
from lightmoon_django.runtime.states import ActivationState
from lightmoon_django.runtime.streams import Stream

if TYPE_CHECKING:
    from lightmoon_django.actor.repeat import Identity
    from lightmoon_django.actor.schema import ActorSchema
    from lightmoon_django.persistence.driver import StoreQueue
    from lightmoon_django.runtime.node import Node
    from lightmoon_django.runtime.timers import Timers

RETRY_AFTER = 0.1  # seconds that an overloaded caller is told to wait
LARGE = 4096  # bytes of arguments from which a call may find the mailbox too heavy


class Activation:
    """One actor in this node's memory. Belongs to the node's loop.

    One turn runs at a time; those that only read overlap once they wait for something.
    """

    __slots__ = (
        "_stream",
        "audience",
        "barrier",
        "columns",
        "creates",
        "directory",
        "epoch",
        "fired",
        "gate",
        "guard",
        "head",
        "hook",
        "idle_since",
        "instance",
        "key",
        "mailbox",
        "node",
        "opened_at",
        "readers",
        "reentering",
        "repeats",
        "revived",
        "running",
        "scheduled",
        "schema",
        "stale",
        "state",
        "store",
        "timers",
        "touched",
        "verified_at",
        "version",
        "view",
    )

    def __init__(self, node: Node, schema: ActorSchema, key: str, columns: Columns, store: StoreQueue | None) -> None:
        self.node = node
        self.schema = schema
        self.key = key
        self.columns = columns
        self.store = store  # None: the actor lives in memory only
        self.directory: StoreQueue | None = store  # says whose it is; None where no other process could have it
        self.view = schema.mirror
        self.audience = Audience(schema.view_for) if schema.view_for is not None else None
        self.state = ActivationState.LOADING
        self.opened_at = node.clock.monotonic()
        self.instance: Any = None
        self.head: Snapshot = ()  # the fields after the latest finished turn, durable or not
        self.version: Any = None  # what the store compares to notice outside writes
        self.epoch = ""
        self.verified_at = 0.0
        self.mailbox: list[Call] = []  # a list, as it is short: an empty deque would cost 600 bytes
        self.gate = Gate(self)
        self.running: Turn | None = None  # nobody else may start; the innermost one, where turns re-entered
        self.readers: list[Turn] | None = None  # read-only turns that wait for something
        self.reentering: list[Call] | None = None  # calls that a turn under way waits for; they start ahead of others
        self.repeats: Repeats | None = None
        self.hook: Call | None = None  # the on_activate or on_deactivate that runs next
        self.barrier = False  # a turn that commits alone waits or runs: nothing else may start
        self.scheduled = False  # in the runners' queue
        self.stale = False  # must be replaced as soon as nothing is under way
        self.touched = True
        self.idle_since = 0.0
        self.guard: Callable[[], bool] | None = None  # under a test runner: whether its transaction still stands
        self.timers: Timers | None = None
        self.revived = False  # it came back for its timers: nobody need wait for it
        self.creates = True  # whether a missing row is made, where the actor is declared so
        self.fired: dict[str, int] | None = None  # reminders by name, with the moment for which each fired last
        self._stream: Stream | None = None

    @property
    def address(self) -> Address:
        return Address(self.schema.name, self.key)

    @property
    def stream(self) -> Stream:
        if self._stream is None:
            self._stream = Stream(self.address, self.epoch, self.node.retention, self.schema.guarded)
        return self._stream

    @property
    def subscribed(self) -> bool:
        return self._stream is not None and bool(self._stream.subscribers)

    @property
    def followed(self) -> bool:
        """Somebody listens to its stream, or did lately and may come back."""
        return self._stream is not None and self._stream.followed

    def end_stream(self, reason: str) -> None:
        """Break its stream off: who follows it joins again."""
        self.stream.end(reason)
        if self.audience is not None:
            self.audience.clear()
        self.node.presences.ended(self.address)

    def tidy(self) -> None:
        """Let go of what is kept for subscribers who don't come back."""
        if self._stream is not None:
            self._stream.tidy()

    @property
    def settled(self) -> bool:
        """Nothing runs and nothing is on its way to the database."""
        return self.running is None and not self.barrier and not self.gate and not self.readers

    @property
    def quiet(self) -> bool:
        """Settled, and nobody waits."""
        return self.settled and not self.mailbox and self.hook is None and self.state is ActivationState.ACTIVE

    @property
    def takes_ticks(self) -> bool:
        """Whether a timer may add a turn."""
        return self.state is ActivationState.ACTIVE and not self.stale and not self.node.ending

    def monotonic(self) -> float:
        return self.node.clock.monotonic()

    def receive(self, call: Call) -> None:
        """Queue a call, or answer it at once when the mailbox is full or it would wait for itself."""
        waiting, limit = len(self.mailbox), self.node.settings.MAILBOX_LIMIT
        if waiting >= limit and (self.timers is None or waiting - self.timers.waiting >= limit):
            call.reject(Overloaded(f"{self.address} has {waiting} messages waiting.", retry_after=RETRY_AFTER))
            return
        if len(call.payload) >= LARGE and self._weight() >= self.node.settings.MAILBOX_BYTES:
            call.reject(Overloaded(f"{self.address} has too large messages waiting.", retry_after=RETRY_AFTER))
            return
        if call.chain and not self._admit_of_chain(call):
            return
        if call.identity is not None and not self._admit_of_id(call, call.identity):
            return
        self.mailbox.append(call)
        self.touched = True
        self.node.deadlines.watch(self, call.deadline)
        if not self.scheduled and (call.identity is None or not call.identity.looking):
            self.schedule()

    def _weight(self) -> int:
        """The arguments that wait. Added up for a large call only: then that costs less than to have read it."""
        return sum(len(call.payload) for call in self.mailbox)

    def adopt(self, calls: list[Call]) -> None:
        """Take over what waited for an earlier activation, in order."""
        for call in calls:
            if call.identity is None or self._admit_of_id(call, call.identity):
                self.mailbox.append(call)
                self.node.deadlines.watch(self, call.deadline)
        self.schedule()

    def _admit_of_chain(self, call: Call) -> bool:
        """Whether a call from a turn is to be queued; otherwise it starts ahead of the queue, or has its answer."""
        if overlap.reenters(self, call):
            self.reentering = [*(self.reentering or ()), call]
            self.node.deadlines.watch(self, call.deadline)
            self.schedule()
            return False
        deadlock = self.node.deadlock(call, self)
        if deadlock is not None:
            call.reject(deadlock)
        return deadlock is None

    def _admit_of_id(self, call: Call, identity: Identity) -> bool:
        if self.repeats is None:
            self.repeats = Repeats(self)
        return self.repeats.admit(call, identity)

    def answer(self, call: Call, payload: bytes) -> None:
        """Give a call its result, and to all copies of it."""
        call.resolve(payload)
        if call.identity is not None and self.repeats is not None:
            self.repeats.succeeded(call.identity, payload)

    def refuse(self, call: Call, error: LightMoonError) -> None:
        """Give a call its error, and to all copies of it."""
        call.reject(error)
        if call.identity is not None and self.repeats is not None:
            self.repeats.failed(call.identity, error)

    def schedule(self) -> None:
        """Let a runner visit, if there is something that may start now."""
        if self.scheduled or self.barrier:
            return
        if self.reentering is None:
            if self.running is not None or self.gate.full:
                return
            if self.hook is None and (not self.mailbox or self.stale or self.state is not ActivationState.ACTIVE):
                return
        self.scheduled = True
        self.node.runners.add(self)

    def next_call(self) -> Call | None:
        """Take the call whose turn starts now. None: not now, or nothing left."""
        if self.reentering is not None and not self.barrier:
            found = overlap.next_reentering(self)
            if found is not None:
                return found
        if self.running is not None or self.barrier or self.gate.full:
            return None
        if self.hook is not None:
            if self.readers:
                return None
            call, self.hook = self.hook, None
            return call
        if self.stale or self.state is not ActivationState.ACTIVE:
            return None
        while self.mailbox:
            call = self.mailbox[0]
            if self.readers and not overlap.only_reads(call):
                return None
            if call.identity is not None and call.identity.looking:
                return None
            del self.mailbox[0]
            if call.deadline > self.monotonic():
                return call
            self.refuse(call, DeadlineExceeded("The deadline passed while the call was queued. It did not run."))
        return None

    def cancel(self, call: Call) -> None:
        """Take a call back: it never runs, or its turn is undone, or it is too late and its answer comes."""
        for turn in overlap.under_way(self):
            if turn.call is call:
                turn.cancelled = True
                if turn.runner is not None:
                    turn.runner.cancel()
                return
        if call.identity is not None and self.repeats is not None and self.repeats.cancel(call, call.identity):
            return
        if call in self.mailbox:
            self.mailbox.remove(call)
        elif self.reentering is not None and call in self.reentering:
            overlap.forget(self, call)
        else:
            return
        self.refuse(call, Cancelled("The caller cancelled the call before it ran."))
        self.schedule()  # what is next may have waited for it

    def conclude(self, turn: Turn, result: Any, error: BaseException | None) -> None:
        """A turn's handler has ended: keep the outcome in the gate until it may leave."""
        if turn.outer is not None:
            overlap.rejoin(self, turn, result, error)
            return
        self._conclude(turn, result, error)
        if self.stale or self.state is not ActivationState.ACTIVE:
            self.gate_opened()  # who waits for this activation's end may have waited for this turn

    def _conclude(self, turn: Turn, result: Any, error: BaseException | None) -> None:
        if not overlap.leave(self, turn) and error is None:
            error = Conflict("The turn ended while a call that re-entered it was still running. Nothing was stored.")
        try:
            if error is not None:
                raise error
            turn.payload = turn.call.encode(result)
            if turn.call.finishes or turn.call.identity is not None:
                self.complete(turn)
            if self.columns.related:
                self.columns.adopt_related(turn.instance)
            before, after = self.head, self.columns.snapshot(turn.instance)
            changes: dict[int, Any] = {}
            if after != before:
                after, changes = self.changes(turn, after)
            else:
                after = before
        except BaseException as found:
            self.fail(turn, found)
            return
        turn.before, turn.after, self.head = before, after, after
        turn.state = TurnState.COMMITTING
        self._hold(turn, changes)

    def changes(self, turn: Turn, after: Snapshot) -> tuple[Snapshot, dict[int, Any]]:
        """What a turn has to store. Raises when a value can't be stored, or the message is read-only."""
        if turn.call.message.options.read_only:
            raise TypeError(f"{turn.call.message.wire_name} is read_only, yet it changed fields.")
        return self.columns.changes(self.head, after, turn.instance)

    def complete(self, turn: Turn) -> None:
        """The handler has succeeded: add what is stored because of the call. May run in a worker thread."""
        call = turn.call
        if call.finishes:
            call.finish(turn)
        if call.identity is not None and call.message.options.once and self.repeats is not None:
            if self.store is not None:
                self.repeats.record(turn, call.identity)

    def _hold(self, turn: Turn, changes: dict[int, Any]) -> None:
        if self.store is None:
            changes = {}  # there is nowhere to store them; but a node that has lost its lease may not answer either
        if turn.saves or turn.deletes or (changes and self.columns.barrier):
            self.barrier = True
            self.gate.hold_barrier(turn, changes)
        elif changes or turn.records:
            self.gate.hold_changes(turn, turn.before, changes)
        elif not self.fresh():
            self.gate.hold_unverified(turn, turn.before)
        elif self.gate:
            self.gate.hold(turn)
        else:
            release(self, turn)

    def fresh(self) -> bool:
        """Whether memory may be trusted without a look at the row."""
        if self.store is None:
            return self.directory is None or self.directory.trusted()
        recent = self.monotonic() - self.verified_at < self.node.verify_after
        return recent and self.store.trusted()

    def fail(self, turn: Turn, error: BaseException) -> None:
        """Undo a turn that raised. Its error waits like any reply: it may tell of state that is not durable yet."""
        turn.error = explained(error, turn.call, self.node.debug)
        turn.events = turn.tells = turn.saves = turn.deletes = turn.records = turn.callbacks = None
        turn.before = turn.after = self.head
        turn.state = TurnState.FAILED
        if turn.instance is self.instance:
            self.columns.restore(self.instance, self.head)
        if not turn.cancelled and not self.fresh():
            self.gate.hold_unverified(turn, self.head)  # it may tell of state that somebody has changed
        elif self.gate:
            self.gate.hold(turn)
        else:
            release(self, turn)

    def committed(self, outcome: Committed, asked_at: float, *, last: bool) -> None:
        """A write is stored, or a look has found the row unchanged. `last`: no later turn waits for its own.

        It is known of the moment when the store was asked: this loop may have stood still since.
        """
        self.version = outcome.version
        self.verified_at = asked_at
        if outcome.snapshot is not None and last:
            self.head = outcome.snapshot
            if self.running is None:
                self.columns.restore(self.instance, outcome.snapshot)
            else:  # its fields are its own, but for those that only the database sets
                self.columns.regenerate(self.instance, outcome.snapshot)

    def distrust(self) -> None:
        """Somebody else wrote the row: take no more turns on this memory, and be replaced when nothing is under way."""
        self.stale = True
        self.verified_at = float("-inf")
        self.gate_opened()

    def gate_opened(self) -> None:
        """Nothing waits in the gate any more."""
        if self.state is ActivationState.ACTIVE and not self.stale:  # nearly always, so it comes first
            if (self.mailbox or self.reentering is not None) and not self.scheduled:
                self.schedule()
        elif self.stale and self.settled and self.state is not ActivationState.LOADING:
            self.node.catalog.replace(self, [], "changed")
        elif self.state is ActivationState.STOPPING and self.settled and self.hook is None:
            self.node.catalog.stopped(self)
        else:
            self.schedule()
