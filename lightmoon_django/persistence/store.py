"""The store's port: what the runtime asks of whatever keeps an actor's fields.

Rows are seen as snapshots: tuples of values in the order of `ActorSchema.fields`, immutable or copied, so that a
snapshot never changes after it was taken. A row's `version` is whatever the engine compares to notice writes that
went past LightMoon; None where it has nothing of the kind.

Calls that reach the database (`load`, `commit`, `disown`) come from one thread per store; `transact` comes from worker
threads. None of them runs on the event loop, and only `transact` runs user code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.persistence.records import Answer, Due, Find, Record

Snapshot = tuple[Any, ...]


class Columns(Protocol):
    """The fields of one actor class: instance to snapshot and back. Pure and cheap; runs on the event loop."""

    @property
    def barrier(self) -> str | None:
        """Why every changing commit must go through `transact` and `Model.save()`; None when it needn't."""

    @property
    def related(self) -> bool:
        """Whether instances may hold related objects, which `forget_related` is for."""

    def adopt_related(self, instance: Any) -> None:
        """Let columns have the keys that related objects have got since they were set; then as `forget_related`.

        Raises `ValueError` where one has none: with its key the change itself would be lost.
        """

    def forget_related(self, instance: Any) -> None:
        """Let the next turn load related objects anew: other code may have written them."""

    def defaults(self) -> Snapshot:
        """The values of an actor that has none stored yet. Only for classes that are kept in memory."""

    def make(self, snapshot: Snapshot, key: str) -> Any:
        """A new instance with those values."""

    def snapshot(self, instance: Any) -> Snapshot:
        """The instance's values now. Later changes of the instance, also inside its JSON, don't show in it."""

    def restore(self, instance: Any, snapshot: Snapshot) -> None:
        """Give the instance those values back, and forget related objects: they may have been changed too."""

    def regenerate(self, instance: Any, snapshot: Snapshot) -> None:
        """Give it the values of generated columns, and no others."""

    def value(self, snapshot: Snapshot, position: int) -> Any:
        """One value of a snapshot as user code would see it. Must not be changed."""

    def changes(self, before: Snapshot, after: Snapshot, instance: Any) -> tuple[Snapshot, dict[int, Any]]:
        """What to write: positions in `ActorSchema.fields` with values ready for the database.

        Returns `after` as well, as it is once `auto_now` and the like are applied (to the instance too). Raises
        `ValueError`, `TypeError` or a Django `ValidationError`/`DatabaseError` for a value that the column can't hold,
        so that it fails its own turn and not a whole group: NUL and lone surrogates, too long texts, None where the
        column has NOT NULL, numbers out of range, a changed primary key.
        """


@dataclasses.dataclass(slots=True, eq=False)
class Load:
    """Claim one row and read it."""

    schema: ActorSchema
    key: str


@dataclasses.dataclass(slots=True, frozen=True)
class Loaded:
    """The row is this node's now."""

    snapshot: Snapshot
    version: Any
    claimed_at: int  # microseconds on the clock that orders claims


@dataclasses.dataclass(slots=True, frozen=True)
class Missing:
    """There is no such row and the actor isn't created on demand. As a commit's outcome: the row was deleted."""


@dataclasses.dataclass(slots=True, frozen=True)
class OwnedElsewhere:
    """A live node has the row. `owner` describes it for people: host, process, incarnation."""

    owner: str
    incarnation: int = 0


@dataclasses.dataclass(slots=True, frozen=True)
class Locked:
    """It can't be had now: somebody's open transaction holds the row, or this node's lease. Try again later, alone."""


@dataclasses.dataclass(slots=True, frozen=True)
class Failed:
    """The database refused this one. Nothing of it is stored."""

    error: Exception


@dataclasses.dataclass(slots=True, frozen=True)
class Down:
    """The database can't be reached. Nothing of it is stored; try again later."""

    error: Exception


@dataclasses.dataclass(slots=True, frozen=True)
class Unsettled:
    """The commit's own acknowledgement was lost and what is stored can't be told. Evict, and answer OutcomeUnknown."""

    error: Exception


@dataclasses.dataclass(slots=True, frozen=True)
class Committed:
    """Stored (or, for a verification, unchanged since). `snapshot` is given when the database changed values."""

    version: Any
    snapshot: Snapshot | None = None


@dataclasses.dataclass(slots=True, frozen=True)
class Lost:
    """The row is no longer this node's, or somebody wrote it meanwhile. Nothing was stored."""


LoadOutcome = Loaded | Missing | OwnedElsewhere | Locked | Failed | Down
CommitOutcome = Committed | Lost | Missing | Locked | Failed | Down | Unsettled


@dataclasses.dataclass(slots=True, eq=False)
class Write:
    """The changes of one actor for one commit, or (`changes` empty) a look whether its row is still what we know.

    With `fence` an empty write locks the row as a real one would. `records` are stored with it; a write that has any is
    fenced. A `ReminderChange` that expects another generation than the stored one fails the write: `Failed` with
    `StaleReminder`.
    """

    schema: ActorSchema
    key: str
    version: Any
    base: Snapshot  # what is stored, as far as this node knows
    changes: dict[int, Any]
    fence: bool = False
    records: Sequence[Record] = ()  # at most one `ReminderChange` for each name

    @property
    def locks(self) -> bool:
        """Whether its row is locked, and not only looked at."""
        return bool(self.changes or self.fence or self.records)


@dataclasses.dataclass(slots=True, frozen=True)
class UnitOfWork:
    """What a barrier turn leaves to be stored, after its user code has run."""

    instance: Any
    changes: dict[int, Any]
    saves: Sequence[Any] = ()
    deletes: Sequence[Any] = ()
    records: Sequence[Record] = ()


@dataclasses.dataclass(slots=True, eq=False)
class Barrier:
    """A turn that commits alone, in a worker thread's transaction, through Django's own save and delete.

    `run` is called inside the transaction: it runs the `def` handler if there is one and returns what to store. If it
    raises, all is rolled back and the exception leaves `transact`. `begin_commit` is asked right before COMMIT;
    False means the turn was abandoned: roll back and return `Lost`. `alive` is asked before each query that user
    code sends; False makes the query raise. `seconds_left` bounds waiting for the row's lock.
    """

    schema: ActorSchema
    key: str
    version: Any
    base: Snapshot
    run: Callable[[], UnitOfWork]
    begin_commit: Callable[[], bool]
    alive: Callable[[], bool]
    seconds_left: Callable[[], float]


class Store(Protocol):
    """One database (or memory) that keeps actors. All outcomes come in the order of the requests."""

    def columns(self, schema: ActorSchema) -> Columns: ...

    def load(self, loads: Sequence[Load]) -> list[LoadOutcome]:
        """Claim and read rows, creating those of `create=True` actors that are missing. Never waits for a lock."""

    def commit(self, writes: Sequence[Write]) -> list[CommitOutcome]:
        """Store a group of writes, each only if its row is still this node's and unchanged since `version`.

        One bad write fails alone. Never waits for a row lock. No two writes of a group name the same actor.
        """

    def transact(self, barrier: Barrier) -> CommitOutcome:
        """Run a barrier turn in this thread. Exceptions of `barrier.run` pass through after the rollback."""

    def disown(self, keys: Sequence[tuple[ActorSchema, str]]) -> None:
        """Give rows back, so that any node may claim them at once."""

    @property
    def incarnation(self) -> Callable[[], int]:
        """Under which id this node owns rows now."""

    def whereabouts(self, keys: Sequence[tuple[ActorSchema, str]]) -> dict[tuple[str, str], int]:
        """By wire name and key, the living nodes that own those rows. Raises the database's own errors."""

    def share(self, incarnation: int) -> None:
        """That incarnation, which had all actors in memory only, has claimed its own: others may claim theirs."""

    def find(self, finds: Sequence[Find]) -> list[Answer | Down | None]:
        """The stored answers of `once` calls that have not expired; None where there is none."""

    def due(self, now: int, until: int, limit: int) -> list[Due]:
        """Claim reminders and tells whose time has come: each is in nobody else's answer before `until`.

        The earliest come first. Rows that somebody has locked are passed over, and what is for an actor that is paused
        in this database. Times are microseconds since 1970.
        """

    def next_due(self) -> int | None:
        """When the earliest reminder or tell that isn't claimed, or the earliest claim's end, comes due.

        Not counting those for paused actors, as `due` doesn't.
        """

    def postpone(self, due: Due, wake_at: int, error: str, *, counts: bool = True) -> None:
        """Try that one again then. Nothing happens if it has been changed or delivered meanwhile.

        With `counts=False` this claim is no attempt: nothing was done with it.
        """

    def delivered(self, ids: Sequence[bytes]) -> None:
        """Forget durable tells that have arrived."""

    def bury(self, due: Due, error: str, then: int | None) -> None:
        """Make a dead letter of it. A periodic reminder goes on at `then`; None ends it. As `postpone` if outdated."""

    def paused(self) -> set[tuple[str, str]]:
        """Wire names and keys of actors that an operator has paused."""

    def clean(self, now: int, limit: int) -> int:
        """Delete up to `limit` expired answers. How many went."""

    def close(self) -> None:
        """Close this thread's connection."""
