"""`@every`: a method that an actor runs again and again while it is in memory."""

from __future__ import annotations

import datetime
import inspect
import math
import types
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, overload

from lightmoon_django.actor import registry
from lightmoon_django.errors import UsageError

S = TypeVar("S")

SHORTEST = 0.001  # seconds; event loops tell no shorter times apart

_Body = Callable[[S], Coroutine[Any, Any, None]]


class Timer(Generic[S]):
    """A method with a period. Nobody can send it: refs and clients don't see it. Called plainly it is a method."""

    def __init__(self, function: _Body[S], period: float) -> None:
        self.function = function
        self.period = period  # seconds
        self.__doc__ = function.__doc__
        self.__name__: str = function.__name__
        self.__wrapped__ = function

    def __set_name__(self, owner: type, name: str) -> None:
        registry.declare(owner, name, self)

    @overload
    def __get__(self, instance: None, owner: type) -> Timer[S]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Callable[[], Coroutine[Any, Any, None]]: ...

    def __get__(self, instance: object | None, owner: type) -> Timer[S] | Callable[[], Coroutine[Any, Any, None]]:
        return self if instance is None else types.MethodType(self.function, instance)


def every(seconds: float | datetime.timedelta) -> Callable[[_Body[S]], Timer[S]]:
    """Run an `async def` method every so many seconds while its actor is in memory.

    Each tick is an ordinary turn: what it changes is stored, what it emits goes out, and one that raises is logged and
    leaves no trace. Ticks keep to the grid of the actor's activation, so that they don't drift; one that comes due
    while the tick before it still waits or runs is left out. An actor with a timer stays in memory. Nothing of a timer
    is stored: it begins anew with each activation. Use `.at()`, `.after()` and `.every()` of a message for what must
    happen also when nobody has the actor in memory.
    """
    period = _period(seconds)

    def decorate(function: _Body[S]) -> Timer[S]:
        _refuse_misuse(function)
        return Timer(function, period)

    return decorate


def _period(value: float | datetime.timedelta) -> float:
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not SHORTEST <= value < math.inf:
        raise UsageError(f"@every takes a number of seconds from {SHORTEST:g} or a timedelta, not {value!r}.")
    return float(value)


def _refuse_misuse(function: Any) -> None:
    name = getattr(function, "__name__", repr(function))
    if not inspect.isfunction(function):
        raise UsageError(
            f"@every can't be put on {name}, which is declared otherwise already. Move the shared code to a plain "
            "method, and call it from a message and from a timer."
        )
    if not inspect.iscoroutinefunction(function):
        raise UsageError(
            f"@every needs an `async def`, and {name} is a `def`: its ticks would each take a worker thread and a "
            "transaction. Make it an `async def`, or tell a `def` message from one."
        )
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(one.default is inspect.Parameter.empty for one in parameters):
        raise UsageError(f"{name} takes parameters, but a timer calls it without any: `async def {name}(self)`.")
