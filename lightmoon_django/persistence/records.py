"""What a turn stores beside its actor's fields, in the same commit: reminders, answers of `once` calls, durable tells.

They live in LightMoon's own tables, in the database of the actor whose turn writes them. Times are microseconds since
1970 in UTC, by the node's wall clock.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When and what a reminder fires."""

    generation: int  # new with every setting, and never used again: tells a stale firing from a fresh one
    message: str  # its name in the actor's class
    payload: bytes  # the arguments, as `Signature.bind` encodes them
    due_at: int
    period: int = 0  # microseconds between firings; 0: it fires once, or by `cron`
    cron: str = ""  # a crontab line in the project's `TIME_ZONE`; empty: it fires once, or by `period`
    catch_up: str = "once"  # what becomes of firings that were missed: "once", "all" or "skip"
    user: str = ""  # key of the user on whose behalf it was set


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReminderChange:
    """Set a reminder of the writing actor, replace it, or take it away."""

    name: str
    schedule: Schedule | None  # None: there is none any more
    expect: int | None = None  # the generation that must be stored now, or the write fails; None: whatever there is


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a `once` call. Stored again under the same id, the first one stays."""

    id: bytes  # 16 bytes; a hash of caller, actor and call id
    fingerprint: bytes  # 16 bytes; a hash of message and arguments: another one under this id is another call
    payload: bytes  # the encoded result
    expires_at: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A tell that is sent again until it is delivered. `id` is its call id too, so that it is processed once."""

    id: bytes  # 16 bytes
    actor: str  # wire name of the receiver's class
    key: str
    message: str
    payload: bytes
    caller: str  # the sending actor's address
    user: str = ""
    wake_at: int  # when it is sent again, should its first sending come to nothing


Record = ReminderChange | Answer | Outgoing


def latest(records: list[Record]) -> list[Record]:
    """The same, of each reminder's changes only the last."""
    last = {record.name: record for record in records if isinstance(record, ReminderChange)}
    return [one for one in records if not isinstance(one, ReminderChange) or last[one.name] is one]


class StaleReminder(Exception):
    """A reminder fired that was cancelled, set anew or fired already: its turn must leave no trace."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DueReminder:
    """A reminder whose time has come. `attempts` counts its claims for this due time, this one included."""

    actor: str
    key: str
    name: str
    schedule: Schedule
    attempts: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DueTell:
    """A durable tell whose delivery was not confirmed. `attempts` counts its claims, this one included."""

    tell: Outgoing
    attempts: int
    error: str = ""  # what became of the last delivery, if anything was heard of it


Due = DueReminder | DueTell


@dataclasses.dataclass(slots=True, eq=False)
class Find:
    """Look up the stored answer of a `once` call."""

    id: bytes
