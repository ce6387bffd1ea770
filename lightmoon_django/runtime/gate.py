"""The output gate: turns run ahead on memory, but nothing leaves before what it depends on is durable.

Each activation has one gate. Finished turns wait in it in order; a turn that changed fields carries a `Ticket`, the
write that makes it durable, and a turn that changed nothing rides behind the ones before it. While one ticket is in
the database the next gathers the changes of all turns that finish meanwhile, so that a hot actor costs one write per
group however many turns it ran.

Prior art: output gates of Durable Objects, early lock release and group commit in databases. The price is that a
failed commit unwinds what was built on it: those turns leave the gate backwards, and run again if nobody could have
seen them (they never suspended), or end as `Conflict`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.call import Call
from lightmoon_django.actor.turn import Turn
from lightmoon_django.persistence import places
from lightmoon_django.persistence.records import Record, ReminderChange
from lightmoon_django.persistence.store import (
    CommitOutcome,
    Committed,
    Failed,
    Missing,
    Snapshot,
    Unsettled,
    Write,
)
from lightmoon_django.runtime import recovery
from lightmoon_django.runtime.release import release

if TYPE_CHECKING:
    from lightmoon_django.runtime.activation import Activation

SPECULATION_LIMIT = 1000  # turns of one actor that may wait for the disk before it stops running ahead


class Ticket:
    """One write of one activation, and the turns that it makes durable. Implements `persistence.driver.Request`.

    It must not end up in a reference cycle: one is made per write, and cycles would be left to the garbage collector.
    """

    __slots__ = ("_gate", "item", "left_at", "stored", "taken", "tries", "turns")

    def __init__(self, gate: Gate, write: Write, turns: list[Turn]) -> None:
        self._gate = gate
        self.item = write
        self.turns = turns
        self.tries = 0
        self.taken = False  # on its way: takes no more changes
        self.left_at = 0.0  # when the row was asked, at the earliest: it may be another by the time of the answer
        self.stored = False

    def take(self) -> None:
        """The write leaves for the store now."""
        self.taken = True
        self.item.version = self._gate.version
        self.left_at = self._gate._activation.monotonic()

    def wanted(self) -> bool:
        """What was accepted is stored as soon as it can be."""
        return True

    def done(self, outcome: CommitOutcome) -> None:
        """The store has answered."""
        self._gate.settled(self, outcome)


class Entry:
    """What waits in the gate: a finished turn with its ticket, or a call that a running turn sends."""

    __slots__ = ("barrier", "begun", "changes", "departure", "ticket", "turn")

    def __init__(
        self,
        turn: Turn | None,
        ticket: Ticket | None = None,
        changes: dict[int, Any] | None = None,
        departure: Call | None = None,
        barrier: bool = False,
    ) -> None:
        self.turn = turn
        self.ticket = ticket
        self.changes = changes
        self.departure = departure
        self.barrier = barrier
        self.begun = False


class Gate:
    """The turns of one activation that are not durable yet. All methods run on the node's loop."""

    __slots__ = ("_activation", "_entries", "_tickets")

    def __init__(self, activation: Activation) -> None:
        self._activation = activation
        self._entries: list[Entry] = []  # lists, as they are short: an empty deque would cost 600 bytes
        self._tickets: list[Ticket] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def version(self) -> Any:
        """The row's version after everything that the store has answered so far."""
        return self._activation.version

    @property
    def full(self) -> bool:
        return len(self._entries) >= SPECULATION_LIMIT

    def turns(self) -> list[Turn]:
        """The turns that wait, oldest first."""
        return [entry.turn for entry in self._entries if entry.turn is not None]

    def hold(self, turn: Turn) -> None:
        """Keep a turn that changed nothing behind those before it."""
        self._entries.append(Entry(turn))

    def hold_changes(self, turn: Turn, base: Snapshot, changes: dict[int, Any]) -> None:
        """Keep a turn until its changes are stored. `base` is the state that they were made on."""
        ticket = self._open_ticket(base, turn.records)
        ticket.item.changes.update(changes)
        ticket.turns.append(turn)
        self._entries.append(Entry(turn, ticket, changes))

    def hold_unverified(self, turn: Turn, base: Snapshot) -> None:
        """Keep a turn that changed nothing until the database has confirmed that what it read is still stored."""
        ticket = self._open_ticket(base)
        self._entries.append(Entry(turn, ticket))

    def hold_barrier(self, turn: Turn, changes: dict[int, Any]) -> None:
        """Keep a turn that commits by itself in a worker's transaction, once those before it are durable."""
        self._entries.append(Entry(turn, None, changes, barrier=True))
        self.advance()

    def depart(self, call: Call) -> None:
        """Send `call` when all turns before the one that asks are durable."""
        self._entries.append(Entry(None, departure=call))

    def verify(self, base: Snapshot, then: Callable[[], None]) -> None:
        """Confirm the row with nothing else to write, then call `then` unless the activation was lost."""
        self._entries.append(_Callback(self._open_ticket(base), then))

    def when_open(self, then: Callable[[], None]) -> None:
        """Call `then` once everything in the gate is durable, unless the activation is lost before."""
        self._entries.append(_Callback(None, then))

    def advance(self) -> None:
        """Let out, in order, whatever no longer waits for anything."""
        while self._entries:  # looked up each time: what is let out may cause an unwinding
            entry = self._entries[0]
            if entry.ticket is not None and not entry.ticket.stored:
                return
            if entry.barrier:
                if not entry.begun:
                    entry.begun = True
                    self._activation.node.barriers.commit(self._activation, entry)
                return
            self._entries.pop(0)
            if entry.departure is not None:
                self._activation.node.post(entry.departure)
            elif entry.turn is not None:
                release(self._activation, entry.turn)
            elif isinstance(entry, _Callback):
                entry.then()
        self._activation.gate_opened()

    def drop_barrier(self) -> None:
        """The barrier turn at the front has ended."""
        assert self._entries
        self._entries.pop(0)

    def unwind(self) -> list[Entry]:
        """Give up everything that waits, oldest first. The caller decides what becomes of each."""
        entries = self._entries
        self._entries, self._tickets = [], []
        return entries

    def _open_ticket(self, base: Snapshot, records: list[Record] | None = None) -> Ticket:
        """The ticket that still takes changes, or a new one. Takes over `records`."""
        if self._tickets:
            ticket = self._tickets[-1]
            if not ticket.taken and (not records or _fit(ticket.item.records, records)):
                if records:
                    ticket.item.records = [*ticket.item.records, *records]
                return ticket
        activation = self._activation
        if activation.store is None:
            write = places.look(activation.schema, activation.key)
        else:
            write = Write(activation.schema, activation.key, None, base, {}, False, records or ())
        ticket = Ticket(self, write, [])
        self._tickets.append(ticket)
        if len(self._tickets) == 1:
            self._submit()
        return ticket

    def _submit(self) -> None:
        """Hand the first ticket to the store; one of an activation is there at a time."""
        assert self._tickets
        store = self._activation.directory
        assert store is not None
        store.commit(self._tickets[0])

    def settled(self, ticket: Ticket, outcome: CommitOutcome) -> None:
        """Act on what became of the first ticket's write."""
        if not self._tickets or self._tickets[0] is not ticket:
            return  # unwound meanwhile
        if type(outcome) is Committed:
            self._tickets.pop(0)
            ticket.stored = True
            if outcome.snapshot is not None and ticket.turns:
                self._correct(ticket.turns[-1].after, outcome.snapshot)
            self._activation.committed(outcome, ticket.left_at, last=not self._tickets)
            if self._tickets:
                self._submit()
            self.advance()
        elif type(outcome) is Failed and len(ticket.turns) > 1:
            self._split(ticket)
        elif type(outcome) is Failed:
            self._fail(ticket, outcome.error)
        elif type(outcome) is Unsettled:
            recovery.lose(self._activation, "The connection broke during the commit.", unsettled=set(ticket.turns))
        else:
            reason = "The row was deleted." if type(outcome) is Missing else "Somebody else changed the row."
            recovery.lose(self._activation, reason)

    def _correct(self, known: Snapshot, stored: Snapshot) -> None:
        """What the database made of a state, as its generated columns, is what all turns on that state release."""
        for turn in self.turns():
            if turn.after is known:
                turn.after = stored
            if turn.before is known:
                turn.before = stored

    def _split(self, ticket: Ticket) -> None:
        """Store the turns of a failed write one by one, so that only the bad one fails."""
        assert self._tickets
        assert self._entries
        self._tickets.pop(0)
        singles: list[Ticket] = []
        lookers: list[Entry] = []  # they only asked for a verification, before any change
        for entry in self._entries:
            if entry.ticket is not ticket:
                continue
            if entry.changes is not None and entry.turn is not None:
                singles.append(self._single(ticket, entry.turn, entry.changes))
            if singles:
                entry.ticket = singles[-1]
            else:
                lookers.append(entry)
        for entry in lookers:
            entry.ticket = singles[0]
        self._tickets[:0] = singles
        self._submit()

    def _single(self, ticket: Ticket, turn: Turn, changes: dict[int, Any]) -> Ticket:
        write = Write(ticket.item.schema, ticket.item.key, None, turn.before, dict(changes), False, turn.records or ())
        single = Ticket(self, write, [turn])
        single.taken = True
        return single

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        """The database refused one turn's changes: it fails, and what was built on it is unwound."""
        entries = self.unwind()
        for entry in entries:
            if entry.ticket is ticket and entry.changes is not None and entry.turn is not None:
                entries.remove(entry)
                recovery.undo(self._activation, entry.turn, error, entries)
                return
        recovery.lose(self._activation, f"The database refused a look at the row: {error}", unwound=entries)


def _fit(earlier: Sequence[Record], later: Sequence[Record]) -> bool:
    """Whether one write may carry both: it changes each reminder once."""
    names = {record.name for record in earlier if isinstance(record, ReminderChange)}
    return not any(isinstance(record, ReminderChange) and record.name in names for record in later)


class _Callback(Entry):
    """Something to do once the gate has let out all before it."""

    __slots__ = ("then",)

    def __init__(self, ticket: Ticket | None, then: Callable[[], None]) -> None:
        super().__init__(None, ticket)
        self.then = then
