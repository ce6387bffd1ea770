"""The schema of an actor class: its messages and events with their types, built once from its hints."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.errors import InvalidParams

if TYPE_CHECKING:
    from lightmoon_django.actor.view import View

RESERVED_PARAMETERS = frozenset({"key"})  # names the actor on the wire


class SchemaError(TypeError):
    """A message or event is declared in a way that can't work; `hint` says what to change."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `@message(…)` was told."""

    exposed: bool = False
    permission_classes: tuple[Any, ...] | None = None
    read_only: bool = False
    reentrant: bool = False
    once: bool = False
    timeout: float | None = None  # seconds


class Signature:
    """The parameters and the result of one method, typed, and ready to cross by value."""

    __slots__ = ("arguments", "returns", "signature", "size")

    def __init__(
        self, name: str, function: Callable[..., Any], substitute: Callable[[Any], Any], *, zoned: bool
    ) -> None:
        """Raises `SchemaError` for parameters and hints that can't be carried."""
        self.signature, hints = _read(function)
        self.size = len(self.signature.parameters)
        fields = [_field(name, parameter, hints) for parameter in self.signature.parameters.values()]
        try:
            self.arguments = codec.Arguments(name.replace(".", "_"), fields, substitute, zoned=zoned)
            self.returns = codec.Shape(hints.get("return", Any), substitute, zoned=zoned)
        except TypeError as error:
            raise SchemaError(
                f"{name} has a type hint that can't be sent: {error}",
                "Use scalars, Decimal, datetime, UUID, enums, dataclasses, TypedDict, Struct or an actor class.",
            ) from error

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The arguments of a Python call, encoded. Raises `TypeError` as Python would, or `InvalidParams`."""
        if kwargs or len(args) != self.size:
            bound = self.signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args = bound.args
        try:
            return codec.encode_local(args)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidParams(f"An argument can't be sent: {error}") from error


def _read(function: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]  # without self
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise SchemaError(
            f"The type hints of {function.__qualname__} can't be read: {error}",
            "Import the names that the hints use at run time, not under TYPE_CHECKING.",
        ) from error
    return signature.replace(parameters=parameters), hints


def _field(name: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> tuple[Any, ...]:
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise SchemaError(
            f"{name} has the parameter {parameter}, which can't be sent.",
            "Use plain parameters; pass a list or a dict instead of *args and **kwargs.",
        )
    if parameter.name in RESERVED_PARAMETERS or parameter.name.startswith("_"):
        raise SchemaError(
            f"{name} has a parameter named {parameter.name!r}, which is reserved.",
            "Rename it: 'key' names the actor on the wire, and leading underscores are kept free.",
        )
    hint = hints.get(parameter.name, Any)
    if parameter.default is inspect.Parameter.empty:
        return (parameter.name, hint)
    return (parameter.name, hint, parameter.default)


class MessageSchema:
    """One message of one actor class. `run` calls its function with positional arguments."""

    __slots__ = (
        "actor",
        "creates",
        "doc",
        "function",
        "is_async",
        "name",
        "options",
        "permission_classes",
        "signature",
        "timeout",
    )

    def __init__(
        self,
        actor: ActorSchema,
        name: str,
        function: Callable[..., Any],
        options: Options,
    ) -> None:
        self.actor = actor
        self.name = name
        self.function = function
        self.options = options
        self.is_async = inspect.iscoroutinefunction(function)
        self.timeout = options.timeout
        self.creates = True  # whether it makes a missing row, where the actor is declared so
        self.doc = inspect.getdoc(function) or ""
        wrong = contradiction(self.wire_name, options, is_async=self.is_async, persistent=actor.persistent)
        if wrong is not None:
            raise wrong
        self.signature = Signature(f"{actor.name}.{name}", function, actor.substitute, zoned=actor.zoned)
        own = options.permission_classes
        self.permission_classes = own if own is not None else actor.permission_classes

    @property
    def wire_name(self) -> str:
        return f"{self.actor.name}.{self.name}"

    def __repr__(self) -> str:
        return f"<message {self.wire_name}>"


def contradiction(name: str, options: Options, *, is_async: bool, persistent: bool) -> SchemaError | None:
    """What the options of a message promise that can't be kept together; None where they fit."""
    if options.reentrant and not is_async:
        return SchemaError(
            f"{name} is reentrant, but a `def` message has a transaction of its own.",
            "Make it an `async def`, or leave reentrant out.",
        )
    if options.reentrant and options.once:
        return SchemaError(
            f"{name} is both once and reentrant: its answer would leave before it is stored.",
            "Choose one of the two.",
        )
    if options.once and not persistent:
        return SchemaError(
            f"{name} is declared with once=True, but its actor is kept in memory only.",
            "Make the actor a model, or leave once out: a call_id is remembered while the actor is in memory anyway.",
        )
    return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TimerSchema:
    """One timer of one actor class, as a message that only the runtime sends."""

    message: MessageSchema
    period: float  # seconds


class EventSchema:
    """One event of one actor class: a signature whose calls are encoded once, for everyone who listens."""

    __slots__ = ("actor", "doc", "name", "permission_classes", "signature")

    def __init__(
        self,
        actor: ActorSchema,
        name: str,
        function: Callable[..., Any],
        permission_classes: tuple[Any, ...] | None = None,
    ) -> None:
        self.actor = actor
        self.name = name
        self.permission_classes = permission_classes  # None: whoever may follow the actor sees it
        self.doc = inspect.getdoc(function) or ""
        self.signature = Signature(f"{actor.name}.{name}", function, actor.substitute, zoned=actor.zoned)

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """The event's data as a JSON object. Raises `TypeError` or `InvalidParams` for what doesn't fit."""
        signature = self.signature
        values = signature.arguments.from_local(signature.bind(args, kwargs))
        try:
            data = codec.encode_json(dict(zip(signature.arguments.names, values, strict=True)))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidParams(f"Event {self.name} can't be sent: {error}") from error
        return data


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """What `@actor(…)` was told."""

    view: Any = None  # field names, or a DRF serializer class or its dotted path; or several of these by name
    permission_classes: tuple[Any, ...] | None = None
    subscription_permission_classes: tuple[Any, ...] | None = None  # None: the former
    presence: tuple[str, ...] | None = None  # attributes of users that are shown; None: nobody is told who is there
    create: bool = False
    idle_after: float | None = None  # seconds
    placement: Any = "local"  # a `placement.Placement`, which is checked when the schema is built


class ActorSchema:
    """Everything the two wings know about one actor class.

    `keys` turns a key into its canonical form; `substitute` exchanges actor classes in hints for their refs.
    """

    __slots__ = (
        "cls",
        "create",
        "events",
        "existing",
        "exposed",
        "fields",
        "guarded",
        "hooks",
        "idle_after",
        "keys",
        "lifecycle",
        "messages",
        "mirror",
        "name",
        "permission_classes",
        "persistent",
        "placement",
        "presence",
        "ref_class",
        "subscription",
        "subscription_permission_classes",
        "substitute",
        "system",
        "timers",
        "view",
        "view_for",
        "zoned",
    )

    def __init__(
        self,
        *,
        cls: type,
        name: str,
        persistent: bool,
        fields: tuple[str, ...],
        options: ActorOptions,
        keys: Callable[[object], str],
        substitute: Callable[[Any], Any],
        zoned: bool,
    ) -> None:
        self.cls = cls
        self.name = name
        self.persistent = persistent
        self.fields = fields  # attribute names, in the order of every snapshot
        self.keys = keys
        self.substitute = substitute
        self.zoned = zoned
        self.view = options.view
        self.view_for: Callable[..., Any] | None = None  # tells what of the view somebody sees
        self.create = options.create or not persistent
        self.idle_after = options.idle_after
        self.placement = options.placement
        self.presence = options.presence
        self.permission_classes = options.permission_classes
        self.subscription_permission_classes = options.subscription_permission_classes
        self.guarded: frozenset[str] = frozenset()  # events that not every subscriber may see
        self.messages: dict[str, MessageSchema] = {}
        self.exposed: dict[str, MessageSchema] = {}
        self.events: dict[str, EventSchema] = {}
        self.hooks: dict[str, Callable[..., Any]] = {}
        self.timers: dict[str, TimerSchema] = {}
        self.system: dict[str, MessageSchema] = {}  # what LightMoon itself sends; no ref and no client reaches it
        self.ref_class: type = object
        self.lifecycle: dict[str, MessageSchema] = {}  # the hooks, as messages that only the runtime sends
        self.mirror: View | None = None  # what `view` means
        self.existing = self  # the same without `create`: loads what is there, and makes nothing
        self.subscription: MessageSchema  # stands for lm.subscribe

    def finish(self, messages: Mapping[str, MessageSchema], events: Mapping[str, EventSchema]) -> None:
        """Take over what the class declares."""
        if self.create and self.persistent:
            self.existing = copy.copy(self)
            self.existing.create = False
        self.messages.update(messages)
        self.events.update(events)
        self.exposed.update((name, message) for name, message in messages.items() if message.options.exposed)
        self.guarded = frozenset(name for name, event in events.items() if event.permission_classes is not None)
        options = Options(permission_classes=self.subscription_permission_classes)
        self.subscription = MessageSchema(self, "on_subscribe", self.hooks.get("on_subscribe", _nothing), options)
        self.lifecycle.update((name, MessageSchema(self, name, hook, Options())) for name, hook in self.hooks.items())

    @property
    def castable(self) -> bool:
        """Whether the frames of its stream are the same for everybody, so that they may be cast to a group."""
        return self.view_for is None

    @property
    def reachable(self) -> bool:
        """Whether clients have any use for it."""
        return bool(self.exposed or self.events or self.view or self.presence is not None)

    def __repr__(self) -> str:
        return f"<actor {self.name}>"


async def _nothing(self: Any) -> None:
    """The body of a subscription's turn, where the actor has no `on_subscribe`."""
