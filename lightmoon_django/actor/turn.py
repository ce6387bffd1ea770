"""The current turn, as user code sees it: `from lightmoon_django import turn`."""

from __future__ import annotations

import contextvars
import datetime
import enum
import itertools
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django.errors import LightMoonError, UsageError

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call
    from lightmoon_django.actor.presence import Present

CALL_DEPTH = 64  # calls that wait for each other, across actors or of one actor to itself

_ids = itertools.count(1)


class TurnState(enum.Enum):
    """Where a turn is between its start and its release."""

    RUNNING = "its handler runs"
    COMMITTING = "its handler is done; its changes are on their way to the database"
    RELEASED = "durable; its reply, events and tells are out"
    FAILED = "it raised, and left no trace"
    ABANDONED = "its deadline passed or its actor was lost; it can't commit any more"


class Turn:
    """One run of one message. User code reaches it through `turn`; the runtime drives it.

    `events` are pairs of event name and encoded data, `tells` are calls, `callbacks` functions: all leave when the turn
    is durable. `records` (of `persistence.records`) are stored with it. `outer` is the turn that this one re-entered,
    and whose fate it shares.
    """

    __slots__ = (
        "__weakref__",
        "activation",
        "after",
        "answered",
        "before",
        "call",
        "callbacks",
        "cancelled",
        "deletes",
        "depth",
        "error",
        "events",
        "instance",
        "number",
        "outer",
        "payload",
        "records",
        "runner",
        "saves",
        "sealed",
        "state",
        "suspended",
        "tells",
        "waiting",
    )

    def __init__(self, call: Call, instance: Any, activation: Any) -> None:
        self.call = call
        self.instance = instance
        self.activation = activation
        self.state = TurnState.RUNNING
        self.number = next(_ids)
        self.before: tuple[Any, ...] = ()  # the actor's snapshot before this turn
        self.after: tuple[Any, ...] = ()  # and after it
        self.answered = False  # its caller has an answer already, as OutcomeUnknown at its deadline
        self.cancelled = False  # its caller wants it undone
        self.sealed = False  # its worker has begun to commit: too late to abandon it
        self.payload: bytes = b""  # the encoded result
        self.error: LightMoonError | None = None
        self.suspended = False  # it awaited or asked something: it can't be run again unseen
        self.runner: Any = None  # the task or thread that runs it
        self.outer: Turn | None = None
        self.depth = 0  # messages of the actor itself that run inline
        self.waiting: list[Call] | None = None  # the asks that it awaits
        self.records: list[Any] | None = None
        self.callbacks: list[Callable[[], Any]] | None = None
        self.events: list[tuple[str, bytes]] | None = None
        self.tells: list[Call] | None = None
        self.saves: list[Any] | None = None
        self.deletes: list[Any] | None = None

    @property
    def running(self) -> bool:
        return self.state is TurnState.RUNNING


_current: contextvars.ContextVar[Turn | None] = contextvars.ContextVar("lightmoon_turn", default=None)


def current() -> Turn | None:
    """The turn that this code runs in; None outside, also in tasks that outlived their turn."""
    found = _current.get()
    return found if found is not None and found.state is TurnState.RUNNING else None


def enter(turn: Turn) -> None:
    """Make `turn` the current one of this context."""
    _current.set(turn)


_sealing = threading.Lock()  # a deadline on the loop and a commit in a worker meet here


def seal(turn: Turn) -> bool:
    """Begin the commit of a turn in a worker. False: it was abandoned or cancelled, and must roll back."""
    with _sealing:
        turn.sealed = turn.state is not TurnState.ABANDONED and not turn.cancelled
        return turn.sealed


def abandon(turn: Turn) -> bool:
    """Make it certain that the turn can't commit. False: its commit has begun."""
    with _sealing:
        if turn.sealed:
            return False
        turn.state = TurnState.ABANDONED
        return True


class TurnProxy:
    """The current turn. Using it outside a turn raises `UsageError`."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """An identifier of this turn, unique in this process."""
        return f"{self._turn.call.address}#{self._turn.number}"

    @property
    def caller(self) -> str | None:
        """Who sent the message: an actor as `app.Class:key`, a client's session id, or None for plain Python."""
        return self._turn.call.caller

    @property
    def user(self) -> Any:
        """The user on whose behalf the chain of calls began; Django's `AnonymousUser` or None when there is none.

        A reminder runs as nobody, and so does a tell of a `once` message that had to be sent again.
        """
        return self._turn.call.user

    @property
    def deadline(self) -> datetime.timedelta:
        """The time left until this turn is abandoned."""
        found = self._turn
        return datetime.timedelta(seconds=max(0.0, found.call.deadline - found.activation.monotonic()))

    @property
    def presence(self) -> Mapping[str, Present]:
        """Who follows this actor now, by user key. One who has just left may still be listed for `PRESENCE_GRACE`.

        For classes declared with `@actor(presence=…)`. A subscriber counts from the end of its `on_subscribe` on.
        """
        found = self._turn
        if found.call.schema.presence is None:
            name = found.call.schema.name
            raise UsageError(f"{name} doesn't know who follows it. Declare it with @actor(presence=True).")
        present: Mapping[str, Present] = found.activation.node.presences.seen(found.call.address)
        return present

    def save(self, obj: Any) -> None:
        """Write another model instance in the same commit as the actor. Nothing is written if the turn fails."""
        found = self._other(obj, "turn.save(self) is not needed: the actor's own fields are stored with its turn.")
        _refuse_in_memory(found, "save")
        if found.saves is None:
            found.saves = []
        found.saves.append(obj)

    def delete(self, obj: Any) -> None:
        """Delete another model instance, or the actor itself, in the same commit."""
        found = self._turn
        _refuse_in_memory(found, "delete")
        if found.deletes is None:
            found.deletes = []
        found.deletes.append(obj)

    def on_commit(self, callback: Callable[[], Any]) -> None:
        """Call that function once the turn is durable; not at all if it fails.

        A coroutine function runs on the event loop, a plain one in a worker thread. What it raises is logged.
        """
        found = self._turn
        if found.callbacks is None:
            found.callbacks = []
        found.callbacks.append(callback)

    def _other(self, obj: Any, reason: str) -> Turn:
        found = self._turn
        if obj is found.instance:
            raise UsageError(reason)
        return found

    @property
    def _turn(self) -> Turn:
        found = current()
        if found is None:
            raise UsageError("There is no current turn here. `turn` works inside an actor's message while it runs.")
        return found

    def __repr__(self) -> str:
        found = current()
        return "<no current turn>" if found is None else f"<turn of {found.call.message.wire_name}>"


def _refuse_in_memory(turn: Turn, verb: str) -> None:
    if turn.activation.store is None:
        raise UsageError(
            f"turn.{verb}() has no commit to be part of: {turn.call.schema.name} is kept in memory only. Write from a "
            "`def` message of a model actor, or from turn.on_commit()."
        )


def renew_lock() -> None:
    """In a forked child: the parent may have held the lock."""
    global _sealing
    _sealing = threading.Lock()


turn = TurnProxy()
