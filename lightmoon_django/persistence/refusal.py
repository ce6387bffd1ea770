"""Takes the databases away from a worker's turn that is past its deadline: its thread can't be stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.db import connections

from lightmoon_django.errors import DeadlineExceeded

T = TypeVar("T")


def check(alive: Callable[[], bool]) -> None:
    """Raise `DeadlineExceeded` where the turn is given up."""
    if not alive():
        raise DeadlineExceeded("The turn was abandoned at its deadline; it can't use the database any more.")


@contextlib.contextmanager
def refuse_when_abandoned(alive: Callable[[], bool], *, besides: str | None = None) -> Iterator[None]:
    """Within it, no query that this thread sends to any database (`besides` one) goes out once `alive()` is false."""

    def guard(execute: Callable[..., Any], *query: Any) -> Any:
        check(alive)
        return execute(*query)

    with contextlib.ExitStack() as stack:
        for connection in connections.all():
            if connection.alias != besides:
                stack.enter_context(connection.execute_wrapper(guard))
        yield


def refusing(alive: Callable[[], bool], run: Callable[[], T]) -> T:
    """Run the turn of an actor that no database keeps."""
    with refuse_when_abandoned(alive):
        return run()
