"""`@actor`, `@message`, `@event`: how a class says that it is live."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from django.db.models import Model

from lightmoon_django.actor import registry
from lightmoon_django.actor.placement import Placement
from lightmoon_django.actor.ref import BoundMessage, of_instance, ref_class
from lightmoon_django.actor.schema import ActorOptions, Options
from lightmoon_django.actor.timer import Timer
from lightmoon_django.actor.turn import current
from lightmoon_django.errors import UsageError
from lightmoon_django.fields import COMMIT_MARK, OwnerField

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_Method = Callable[Concatenate[Any, P], R]


class Message(Generic[P, R]):
    """A method that can be sent to an actor. Reached through an instance or a ref it is a `BoundMessage`."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        if isinstance(function, Timer):
            raise UsageError(f"{function.__name__} is a timer and can't be sent as well: call one from the other.")
        self.function = function
        self.options = options
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __set_name__(self, owner: type, name: str) -> None:
        registry.declare(owner, name, self)

    @overload
    def __get__(self, instance: None, owner: type) -> Message[P, R]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> BoundMessage[P, R]: ...

    def __get__(self, instance: object | None, owner: type) -> Message[P, R] | BoundMessage[P, R]:
        if instance is None:
            return self
        return of_instance(owner, instance, self.__name__)


class BoundEvent(Generic[P]):
    """An event of the actor whose turn is running; calling it emits."""

    __slots__ = ("_instance", "_name", "_owner")

    alters_data = True  # a template must not emit

    def __init__(self, owner: type, instance: object, name: str) -> None:
        self._owner = owner
        self._instance = instance
        self._name = name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Emit to subscribers once the turn is durable; not at all if it fails. Arguments are taken by value now."""
        turn = current()
        if turn is None or turn.instance is not self._instance:
            raise UsageError(f"Event {self._name!r} can be emitted only inside a turn of its own actor.")
        data = registry.schema_of(self._owner).events[self._name].encode(args, kwargs)
        if turn.events is None:
            turn.events = []
        turn.events.append((self._name, data))


class Event(Generic[P]):
    """A signature that an actor emits under. Its body never runs."""

    def __init__(self, function: Callable[..., Any], permission_classes: tuple[Any, ...] | None = None) -> None:
        self.function = function
        self.permission_classes = permission_classes
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function

    def __set_name__(self, owner: type, name: str) -> None:
        registry.declare(owner, name, self)

    @overload
    def __get__(self, instance: None, owner: type) -> Event[P]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> BoundEvent[P]: ...

    def __get__(self, instance: object | None, owner: type) -> Event[P] | BoundEvent[P]:
        return self if instance is None else BoundEvent(owner, instance, self.__name__)


class _MessageDecorator:
    """`@message(…)` with its options. Typed for async and plain methods apart."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @overload
    def __call__(self, function: _Method[P, Coroutine[Any, Any, R]]) -> Message[P, R]: ...

    @overload
    def __call__(self, function: _Method[P, R]) -> Message[P, R]: ...

    def __call__(self, function: Callable[..., Any]) -> Message[Any, Any]:
        return Message(function, self._options)


@overload
def message(function: _Method[P, Coroutine[Any, Any, R]], /) -> Message[P, R]: ...


@overload
def message(function: _Method[P, R], /) -> Message[P, R]: ...


@overload
def message(
    *,
    exposed: bool = False,
    permission_classes: Iterable[Any] | None = None,
    read_only: bool = False,
    reentrant: bool = False,
    once: bool = False,
    timeout: float | datetime.timedelta | None = None,
) -> _MessageDecorator: ...


def message(
    function: Callable[..., Any] | None = None,
    /,
    *,
    exposed: bool = False,
    permission_classes: Iterable[Any] | None = None,
    read_only: bool = False,
    reentrant: bool = False,
    once: bool = False,
    timeout: float | datetime.timedelta | None = None,
) -> Message[Any, Any] | _MessageDecorator:
    """Declare what may be sent to an actor.

    `exposed` lets clients send it, judged by `permission_classes` (the actor's, then the project's default, when not
    given). `read_only` turns of `async def` messages may overlap each other, never a writer, and must not change
    fields. A `reentrant` one may come back to its actor while a turn of the same chain of calls waits there: it runs as
    a part of that turn, whose fate it shares. The answer of a `once` message that is called with a `call_id` is stored
    in its own commit, and a repeated call gets it, also after a crash; a tell of one from a turn is stored with that
    turn, and arrives. `timeout` is the deadline in seconds of calls that name none. An `async def` runs on the event
    loop, a `def` in a worker thread inside a transaction.
    """
    options = Options(
        exposed=exposed,
        permission_classes=_listed(permission_classes),
        read_only=read_only,
        reentrant=reentrant,
        once=once,
        timeout=_seconds(timeout, "timeout"),
    )
    return Message(function, options) if function is not None else _MessageDecorator(options)


class _EventDecorator:
    """`@event(…)` with its options."""

    def __init__(self, permission_classes: tuple[Any, ...] | None) -> None:
        self._permission_classes = permission_classes

    def __call__(self, function: _Method[P, None]) -> Event[P]:
        return Event(function, self._permission_classes)


@overload
def event(function: _Method[P, None], /) -> Event[P]: ...


@overload
def event(*, permission_classes: Iterable[Any] | None = None) -> _EventDecorator: ...


def event(
    function: _Method[P, None] | None = None, /, *, permission_classes: Iterable[Any] | None = None
) -> Event[P] | _EventDecorator:
    """Declare what an actor emits. Calling it inside a turn sends it to subscribers after the commit.

    To all who may follow the actor, or (with `permission_classes`) to those of them whom these let see it.
    """
    classes = _listed(permission_classes)
    return Event(function, classes) if function is not None else _EventDecorator(classes)


@overload
def actor(cls: type[T], /) -> type[T]: ...


@overload
def actor(
    *,
    view: Any = None,
    permission_classes: Iterable[Any] | None = None,
    subscription_permission_classes: Iterable[Any] | None = None,
    presence: bool | Iterable[str] = False,
    create: bool = False,
    idle_after: float | datetime.timedelta | None = None,
    placement: Placement = "local",
) -> Callable[[type[T]], type[T]]: ...


def actor(
    cls: type[T] | None = None,
    /,
    *,
    view: Any = None,
    permission_classes: Iterable[Any] | None = None,
    subscription_permission_classes: Iterable[Any] | None = None,
    presence: bool | Iterable[str] = False,
    create: bool = False,
    idle_after: float | datetime.timedelta | None = None,
    placement: Placement = "local",
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a class a virtual actor: a model keyed by its primary key, or a plain class (memory only) keyed by a text.

    `view` is the state that clients mirror: field names, or a DRF serializer class (or its dotted path) that needs
    nothing but the actor's own fields; or a dict of such views, of which the method `view_for(self, user)` names the
    one that a user sees (see docs/views.md). `permission_classes` judge every exposed message and every subscription
    that doesn't say otherwise: a message by its own, subscriptions by `subscription_permission_classes`. `presence`
    tells those who follow the actor, and itself (`turn.presence`), who follows it; it names what is shown of users
    besides their keys, as in `presence=["username"]`. With `create=True` a missing row is made from defaults at its
    first call. `idle_after` (seconds) overrides the setting `IDLE_AFTER`. `placement` says on which of several
    processes an actor comes to live that nobody has: "local" where it is called, "random", "least_loaded", or on those
    of a `Role`.
    """
    options = ActorOptions(
        view=tuple(view) if isinstance(view, (list, tuple)) else view,
        permission_classes=_listed(permission_classes),
        subscription_permission_classes=_listed(subscription_permission_classes),
        presence=_shown(presence),
        create=create,
        idle_after=_seconds(idle_after, "idle_after"),
        placement=placement,
    )

    def decorate(cls: type[T]) -> type[T]:
        if issubclass(cls, Model):
            _adopt_model(cls)
        else:
            _adopt_plain(cls)
        registry.register(cls, options, ref_class(cls))
        return cls

    return decorate(cls) if cls is not None else decorate


def _adopt_model(cls: type[Model]) -> None:
    if cls._meta.abstract:
        raise UsageError(f"{cls.__name__} is abstract: there are no rows of it. Decorate its concrete children.")
    OwnerField.attach(cls, registry.OWNER_FIELD)
    _guard(cls, "save_base", "its fields are stored with the turn, nobody needs to save them")
    _guard(cls, "refresh_from_db", "its fields are what is stored already")
    cls.lightmoon_key = property(_instance_key)  # type: ignore[attr-defined]


def _guard(cls: type[Model], name: str, reason: str) -> None:
    """Make a method of Django's an error on the actor itself while its turn runs."""
    inherited = getattr(cls, name)

    @functools.wraps(inherited)
    def guarded(self: Model, *args: Any, **kwargs: Any) -> Any:
        turn = current()
        if turn is not None and turn.instance is self and COMMIT_MARK not in self.__dict__:
            public = "save" if name == "save_base" else name
            raise UsageError(f"self.{public}() has no place inside a turn of {cls.__name__}: {reason}.")
        return inherited(self, *args, **kwargs)

    setattr(cls, name, guarded)


def _adopt_plain(cls: type) -> None:
    if "__init__" in vars(cls) or getattr(cls, "__init__") is not object.__init__:
        raise UsageError(f"{cls.__name__} is an actor in memory and takes no arguments: set it up in on_activate.")
    cls.lightmoon_key = property(lambda self: self.key)  # type: ignore[attr-defined]


def _instance_key(instance: Model) -> str | None:
    return None if instance.pk is None else str(instance.pk)


def _listed(classes: Iterable[Any] | None) -> tuple[Any, ...] | None:
    """Permission classes as they were given; None where nothing was said."""
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise UsageError(f"Permission classes are given as a list, as in [IsAuthenticated], and not as {classes!r}.")
    return tuple(classes)


def _shown(presence: bool | Iterable[str]) -> tuple[str, ...] | None:
    """Attributes of users; None where nobody wants to know who is there."""
    if isinstance(presence, bool):
        return () if presence else None
    names = (presence,) if isinstance(presence, str) else tuple(presence)
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise UsageError(f"presence is True, or names attributes of users as in ['username'], and not {presence!r}.")
    return names


def _seconds(value: float | datetime.timedelta | None, name: str) -> float | None:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0):
        raise UsageError(f"{name} must be a number of seconds above 0 or a timedelta, not {value!r}.")
    return value
