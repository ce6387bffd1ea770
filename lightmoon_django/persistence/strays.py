"""ORM writes that an `async def` turn makes by itself: they are stored at once, whatever becomes of the turn.

Under DEBUG they are refused, so that nobody takes them for a part of it. Only reading is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from lightmoon_django.actor.turn import Turn, current
from lightmoon_django.errors import UsageError

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE")


def connect() -> None:
    """Watch the connections that are opened from now on."""
    connection_created.connect(_watch, dispatch_uid="lightmoon.strays")


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if settings.DEBUG and _refuse not in connection.execute_wrappers:
        connection.execute_wrappers.append(_refuse)


def _refuse(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    turn = current()
    if turn is not None and settings.DEBUG and _has_a_commit(turn) and _writes(sql):
        raise UsageError(
            f"{turn.call.message.wire_name} is an `async def` message, so what it writes through the ORM is no part of "
            "its turn: it is stored at once, and stays when the turn fails. Use turn.save(obj) or turn.delete(obj), "
            "make it a `def` message, or write in turn.on_commit(…). (This is refused under DEBUG only.)"
        )
    return execute(sql, params, many, context)


def _has_a_commit(turn: Turn) -> bool:
    """Whether there is one that the write could be taken for a part of, and isn't."""
    return turn.call.message.is_async and turn.call.schema.persistent


def _writes(sql: Any) -> bool:
    return str(sql).lstrip().upper().startswith(_WRITES)
