"""Addresses that can be called. The one place where the two wings meet: everything that is sent passes `Exchange`."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Awaitable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from lightmoon_django.actor import registry, reminder
from lightmoon_django.actor.reminder import Remindable, Reminder, Setting
from lightmoon_django.actor.schema import MessageSchema
from lightmoon_django.actor.turn import CALL_DEPTH, Turn, current
from lightmoon_django.codec import Linked
from lightmoon_django.errors import TooDeep, UsageError

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """What one call asks for beyond its arguments."""

    timeout: float | None = None  # seconds, queueing included
    call_id: str | None = None  # the idempotency key: sent again, the call gets the first one's answer
    in_transaction: bool = False  # the caller knows that its open transaction holds none of the actor's rows
    name: str | None = None  # of a reminder; None: the message's own name
    catch_up: str = "once"  # what becomes of a reminder's missed firings


PLAIN = CallOptions()


class Exchange(Protocol):
    """How a call reaches its actor, from whichever thread or loop. Implemented by `host`.

    `payload` holds the arguments as `MessageSchema.signature.bind` encoded them. Answers are encoded results; errors
    are those of `lightmoon_django.errors`.
    """

    async def ask(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> bytes: ...

    def ask_blocking(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> bytes: ...

    def tell(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> None: ...

    def ask_or_tell(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> None:
        """Ask and block until the answer; inside an open transaction tell instead."""


_exchange: Exchange | None = None


def install(exchange: Exchange) -> None:
    """Set who carries calls in this process."""
    global _exchange
    _exchange = exchange


def exchange() -> Exchange:
    if _exchange is None:
        raise UsageError(
            "LightMoon is not installed in this process. Add 'lightmoon_django' to INSTALLED_APPS and call "
            "django.setup() before sending messages."
        )
    return _exchange


class BoundMessage(Remindable[P], Generic[P, R]):
    """A message of one actor, ready to be sent.

    `await m(…)` asks from async code, `m.sync(…)` asks from sync code, `m.tell(…)` sends without waiting. `m.at(…)`,
    `m.after(…)`, `m.every(…)` and `m.cancel()` set its reminders.
    """

    __slots__ = ("_key", "_message", "_options")

    alters_data = True  # a template must not send messages

    def __init__(self, message: MessageSchema, key: str, options: CallOptions = PLAIN) -> None:
        self._message = message
        self._key = key
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        """Ask, and wait for the result without blocking the event loop."""
        payload = self._message.signature.bind(args, kwargs)
        return self._ask(payload)

    async def _ask(self, payload: bytes) -> R:
        answer = await exchange().ask(self._message, self._key, payload, self._options)
        result: R = self._message.signature.returns.from_local(answer)
        return result

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Ask from sync code and block this thread until the answer. Raises `UsageError` on an event loop's thread."""
        message = self._message
        payload = message.signature.bind(args, kwargs)
        answer = exchange().ask_blocking(message, self._key, payload, self._options)
        return cast(R, message.signature.returns.from_local(answer))

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Send without waiting. From a turn or an open transaction it leaves after the commit, or not at all."""
        payload = self._message.signature.bind(args, kwargs)
        exchange().tell(self._message, self._key, payload, self._options)

    def options(
        self,
        *,
        timeout: float | datetime.timedelta | None = None,
        call_id: str | None = None,
        in_transaction: bool = False,
        name: str | None = None,
        catch_up: str = "once",
    ) -> BoundMessage[P, R]:
        """The same message with options for its next calls.

        `timeout` is in seconds, queueing included. `call_id` names one call: sent again under it, also by somebody
        else, the message doesn't run again and the first answer comes; kept while the actor is in memory (of its last
        64 such calls, and up to 64 KiB of each), and for `CALL_RETENTION` where the message is declared with
        `once=True`. `in_transaction` lets `.sync()` be called inside an open transaction, by who knows that it holds
        none of the actor's rows (on SQLite one that has the write lock holds them all). `name` tells reminders of one
        message apart, and `catch_up` ("once", "all" or "skip") says what becomes of a periodic one's missed firings.
        """
        if isinstance(timeout, datetime.timedelta):
            timeout = timeout.total_seconds()
        if timeout is not None and timeout <= 0:
            raise UsageError(f"A timeout must be longer than 0 seconds, not {timeout!r}.")
        if call_id is not None and not (isinstance(call_id, str) and call_id):
            raise UsageError(f"A call_id is a text of at least one character, not {call_id!r}.")
        reminder.check_name(name)
        reminder.check_catch_up(catch_up)
        options = CallOptions(
            timeout=timeout, call_id=call_id, in_transaction=in_transaction, name=name, catch_up=catch_up
        )
        return BoundMessage(self._message, self._key, options)

    # What its reminders need

    @property
    def _bound(self) -> MessageSchema:
        return self._message

    @property
    def _bound_key(self) -> str:
        return self._key

    @property
    def _reminder_name(self) -> str:
        return self._options.name or self._message.name

    @property
    def _catch_up(self) -> str:
        return self._options.catch_up

    def _set(self, setting: Setting, what: str) -> Reminder:
        actor, key, turn = self._message.actor, self._key, current()
        if turn is not None and turn.call.schema is actor and turn.call.key == key:
            reminder.register(turn, setting)
            return Reminder(what)
        system = actor.system[reminder.SET]
        payload = system.signature.bind((setting,), {})
        if turn is not None:
            exchange().tell(system, key, payload, PLAIN)
            return Reminder(what)
        options = CallOptions(timeout=self._options.timeout, in_transaction=self._options.in_transaction)
        return Reminder(
            what,
            lambda: exchange().ask(system, key, payload, options),
            lambda: exchange().ask_or_tell(system, key, payload, options),
        )

    def __repr__(self) -> str:
        return f"<message {self._message.wire_name} of {self._key!r}>"


class InlineMessage(BoundMessage[P, R]):
    """A message of the actor whose turn is running: called plainly it runs as part of that turn."""

    __slots__ = ("_turn",)

    def __init__(self, message: MessageSchema, key: str, turn: Turn) -> None:
        super().__init__(message, key)
        self._turn = turn

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R]:
        message = self._message
        if not message.is_async:
            raise UsageError(
                f"{message.wire_name} is a `def` message and can't be part of an async turn. "
                f"Use self.{message.name}.tell(…), or move the shared code to a plain method."
            )
        return self._inline(args, kwargs)

    async def _inline(self, args: Any, kwargs: Any) -> R:
        turn = self._turn
        if turn.depth >= CALL_DEPTH:
            raise TooDeep(f"{self._message.wire_name} calls itself more than {CALL_DEPTH} deep. Where does it end?")
        turn.depth += 1
        try:
            return cast(R, await self._message.function(turn.instance, *args, **kwargs))
        finally:
            turn.depth -= 1

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> R:
        message = self._message
        if message.is_async or self._turn.call.message.is_async:
            raise UsageError(
                f"{message.wire_name} can't be asked with .sync() inside a turn of the same actor: it would wait for "
                f"itself. Use self.{message.name}.tell(…), or call a plain method."
            )
        return cast(R, message.function(self._turn.instance, *args, **kwargs))


class Ref(Linked):
    """An address of an actor. Costs nothing and touches no database; equal addresses are equal refs.

    Every actor class has its own subclass, so that hints can be checked. Only messages can be reached through it.
    """

    __slots__ = ("key",)

    actor: type  # set on each subclass

    def __init__(self, key: str) -> None:
        self.key = key

    @classmethod
    def from_key(cls, key: str) -> Ref:
        """Raises `InvalidParams` (of `lightmoon_django.errors`) when the key is not in canonical form."""
        return cls(registry.schema_of(cls.actor).keys(key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        schema = registry.schema_of(self.actor)
        message = schema.messages.get(name)
        if message is None:
            raise AttributeError(
                f"A ref has no state and {schema.name} has no message {name!r}. "
                f"Messages are: {', '.join(sorted(schema.messages)) or 'none'}."
            )
        return BoundMessage(message, self.key)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *registry.schema_of(self.actor).messages]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.key == self.key

    def __hash__(self) -> int:
        return hash((self.actor, self.key))

    def __reduce__(self) -> tuple[Any, ...]:
        return (ref, (self.actor, self.key))

    def __repr__(self) -> str:
        return f"ref({registry.name_of(self.actor)}, {self.key!r})"


def ref_class(actor: type) -> type[Ref]:
    """A new class of refs for one actor class."""
    return type(f"{actor.__name__}Ref", (Ref,), {"__slots__": (), "actor": actor})


def ref(actor: type[T], key: object) -> T:
    """The address of the actor of that class and key, typed as the actor so that editors complete its messages.

    `key` is a primary key, or any text for a memory-only actor. Raises `InvalidParams` for a key that the primary key
    field would render differently, as `"07"`.
    """
    found: T = registry.ref_class_of(actor).from_key(key)  # type: ignore[attr-defined]
    return found


def of_instance(owner: type, instance: Any, name: str) -> BoundMessage[Any, Any]:
    """The message `name` of the actor that `instance` is, or is a copy of.

    Inside the instance's own turn it is the inline form; anywhere else it goes to the actor with that key.
    """
    message = registry.schema_of(owner).messages[name]
    turn = current()
    if turn is not None and turn.instance is instance:
        return InlineMessage(message, turn.call.key, turn)
    key = getattr(instance, "lightmoon_key", None)
    if key is None:
        raise UsageError(f"This {owner.__name__} has no key yet. Save it first: only a stored row is an actor.")
    return BoundMessage(message, key)
