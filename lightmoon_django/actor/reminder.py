"""Reminders, as user code sets them: `.at()`, `.after()`, `.every()` and `.cancel()` of a bound message.

A reminder belongs to the actor that it reminds, and only a turn of that actor stores it. A turn that sets one of its
own registers it at once. Anybody else sends a system message, which no client and no ref can reach, and its turn does.
"""

from __future__ import annotations

import dataclasses
import datetime
import warnings
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, overload

from django.utils import timezone

from lightmoon_django.actor.cadence import SECOND, check_cron, moment
from lightmoon_django.actor.turn import Turn, current
from lightmoon_django.errors import UsageError

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import MessageSchema

P = ParamSpec("P")

SET = "set-reminder"  # the system message that sets, replaces or cancels one; no method can have that name
CATCH_UP = ("once", "all", "skip")
NAME_LIMIT = 200  # characters of a reminder's name
CRON_LIMIT = 255  # characters of a crontab line
SHORTEST = 0.001  # seconds between two firings
LATEST = moment(datetime.datetime.max.replace(tzinfo=datetime.UTC))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is to become of a reminder. Crosses to the actor that it belongs to. Durations are microseconds."""

    name: str
    message: str = ""  # empty: there is to be none any more
    payload: bytes = b""
    due_at: int | None = None  # since 1970 in UTC; None: in `delay` from the turn that stores it, or by `cron`
    delay: int = 0
    period: int = 0
    cron: str = ""
    catch_up: str = "once"


async def set_reminder(self: Any, setting: Setting) -> None:
    """The body of the system message."""
    turn = current()
    assert turn is not None
    register(turn, setting)


def register(turn: Turn, setting: Setting) -> None:
    """Store it with a turn of the actor that it belongs to."""
    turn.activation.node.reminders.register(turn, setting)


class Reminder:
    """A reminder that was set inside a turn, or is set by `await reminder` or `reminder.sync()` outside."""

    __slots__ = ("_ask", "_ask_blocking", "_pending", "_what")

    def __init__(
        self,
        what: str,
        ask: Callable[[], Awaitable[Any]] | None = None,
        ask_blocking: Callable[[], Any] | None = None,
    ) -> None:
        """Without ways to send it is registered already."""
        self._what = what
        self._ask = ask
        self._ask_blocking = ask_blocking
        self._pending = ask is not None

    def __await__(self) -> Generator[Any, None, None]:
        """Set it. Returns when that is durable. Raises `ActorNotFound` where the actor has no row."""
        self._pending = False
        if self._ask is not None:
            yield from self._ask().__await__()

    def sync(self) -> None:
        """The same from sync code. Inside an open transaction it leaves after the commit, as a tell does."""
        self._pending = False
        if self._ask_blocking is not None:
            self._ask_blocking()

    def __del__(self) -> None:
        if getattr(self, "_pending", False):
            warnings.warn(
                f"{self._what} was never awaited, so nothing was set. Outside a turn write `await …` or `….sync()`.",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    def __repr__(self) -> str:
        return f"<{self._what}>"


class Remindable(Generic[P]):
    """The verbs of a bound message that set reminders. What follows their first argument goes to the message."""

    __slots__ = ()

    def at(self, when: datetime.datetime, /, *args: P.args, **kwargs: P.kwargs) -> Reminder:
        """Send it at that time, to the microsecond; at once if that is past.

        It replaces an earlier reminder of the same name. Set once more to the time that it fired for, nothing happens
        while the actor stays in memory. A later activation doesn't know of that firing: where `on_activate` sets what
        the fields say, let them say too that it is done.
        """
        return self._remind("at", args, kwargs, due_at=_due(when, zoned=self._bound.actor.zoned))

    def after(self, delay: float | datetime.timedelta, /, *args: P.args, **kwargs: P.kwargs) -> Reminder:
        """Send it in that many seconds; at once if they are 0 or less."""
        return self._remind("after", args, kwargs, delay=max(0, _microseconds(delay, "A delay")))

    @overload
    def every(self, period: float | datetime.timedelta, /, *args: P.args, **kwargs: P.kwargs) -> Reminder: ...

    @overload
    def every(self, /, *args: Any, cron: str, **kwargs: Any) -> Reminder: ...

    def every(self, /, *args: Any, **kwargs: Any) -> Reminder:
        """Send it every so many seconds, first after one period, or whenever a crontab line says so.

        Firings keep to their grid, however late one is. A `cron` line has five fields, or six with seconds in front,
        and is read in the project's `TIME_ZONE`. What becomes of firings that were missed, as nothing ran then, is said
        by `.options(catch_up=…)`: "once" (default) fires once for all of them, "all" fires each in turn, "skip" fires
        none that is a period late or more.
        """
        if "cron" in kwargs:
            line = kwargs.pop("cron")
            return self._remind("every", args, kwargs, cron=_cron(line))
        if not args:
            raise UsageError('.every() takes a period in seconds or a timedelta, or cron="…".')
        period = _microseconds(args[0], "A period")
        if period < SHORTEST * SECOND:
            raise UsageError(f"A period is at least {SHORTEST:g} seconds, not {args[0]!r}.")
        return self._remind("every", args[1:], kwargs, delay=period, period=period)

    def cancel(self) -> Reminder:
        """Take the reminder of this message, or the one named by `.options(name=…)`, away. There needn't be one."""
        self._refuse_memory_only("cancel")
        return self._set(Setting(name=self._reminder_name), self._what("cancel"))

    def _remind(self, verb: str, args: Any, kwargs: Any, **when: Any) -> Reminder:
        self._refuse_memory_only(verb)
        message = self._bound
        payload = message.signature.bind(args, kwargs)
        message.signature.arguments.from_local(payload)  # wrong arguments are refused now, and not when it fires
        setting = Setting(
            name=self._reminder_name, message=message.name, payload=payload, catch_up=self._catch_up, **when
        )
        return self._set(setting, self._what(verb))

    def _refuse_memory_only(self, verb: str) -> None:
        if not self._bound.actor.persistent:
            raise UsageError(
                f"{self._bound.wire_name}.{verb}() needs a database to outlive the process, and its actor is kept in "
                "memory only. Use @every on a method for what recurs while it is active, or make the actor a model."
            )

    def _what(self, verb: str) -> str:
        return f"{self._bound.wire_name}.{verb}(…) of {self._bound_key!r}"

    # What a bound message tells

    @property
    def _bound(self) -> MessageSchema:
        raise NotImplementedError

    @property
    def _bound_key(self) -> str:
        raise NotImplementedError

    @property
    def _reminder_name(self) -> str:
        raise NotImplementedError

    @property
    def _catch_up(self) -> str:
        raise NotImplementedError

    def _set(self, setting: Setting, what: str) -> Reminder:
        raise NotImplementedError


def check_name(name: str | None) -> None:
    """Raises `UsageError` for what can't name a reminder."""
    if name is not None and not (isinstance(name, str) and 0 < len(name) <= NAME_LIMIT and "\x00" not in name):
        raise UsageError(f"The name of a reminder is a text of 1 to {NAME_LIMIT} characters, not {name!r}.")


def check_catch_up(catch_up: str) -> None:
    """Raises `UsageError` for a word that isn't one of `CATCH_UP`."""
    if catch_up not in CATCH_UP:
        raise UsageError(f"catch_up is one of {', '.join(CATCH_UP)}, not {catch_up!r}.")


def _due(when: datetime.datetime, *, zoned: bool) -> int:
    if not isinstance(when, datetime.datetime):
        raise UsageError(f".at() takes a datetime, not {when!r}. Use .after() for a delay.")
    if timezone.is_naive(when):
        if zoned:
            raise UsageError(
                f".at({when!r}) has no time zone, and USE_TZ is set: it can't be told when that is. "
                "Use timezone.now() + …, or timezone.make_aware(…)."
            )
        when = timezone.make_aware(when, timezone.get_default_timezone())
    return moment(when)


def _microseconds(value: float | datetime.timedelta, what: str) -> int:
    if isinstance(value, datetime.timedelta):
        found = value // datetime.timedelta(microseconds=1)
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) * SECOND < LATEST:
        raise UsageError(f"{what} is a number of seconds or a timedelta, not {value!r}.")
    else:
        found = round(value * SECOND)
    if found > LATEST - moment(datetime.datetime.now(datetime.UTC)):
        raise UsageError(f"{what} of {value!r} leads beyond the year 9999.")
    return found


def _cron(line: str) -> str:
    if not isinstance(line, str) or len(line) > CRON_LIMIT:
        raise UsageError(f"A crontab line is a text of at most {CRON_LIMIT} characters, not {line!r}.")
    check_cron(line, moment(datetime.datetime.now(datetime.UTC)))
    return line
