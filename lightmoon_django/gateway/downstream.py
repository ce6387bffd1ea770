"""What event streams and polls have in common: which session they ask for, and from which message on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from lightmoon_django.errors import Overloaded
from lightmoon_django.gateway import admission
from lightmoon_django.gateway.admission import Refusal
from lightmoon_django.gateway.backlog import Backlog
from lightmoon_django.gateway.carrier import Carrier
from lightmoon_django.gateway.http import header
from lightmoon_django.gateway.hub import Hub
from lightmoon_django.gateway.origin import as_request
from lightmoon_django.gateway.rates import Table
from lightmoon_django.gateway.session import Session

_DIGITS = 15  # of a cursor; more messages never were sent


async def session_of(scope: Mapping[str, Any], hub: Hub, allowance: Table) -> Session:
    """The session that a GET asks for, if it is the visitor's. It counts in `allowance`. Raises `Refusal`."""
    if scope["method"] != "GET":
        raise Refusal(405, "Ask by GET.", Allow="GET")
    if hub.closing:
        raise Refusal(503, "This server is about to stop.", Retry_After="1")
    try:
        allowance.take(hub.rates.address_of(scope))
    except Overloaded as error:
        raise admission.too_often(error) from None
    visitor = await admission.visitor_of(scope, as_request(scope, io.BytesIO()))
    token = _query(scope, "session")
    if not token:
        raise Refusal(400, "Which session? Say lm.hello by POST, and add its session as ?session=….")
    return admission.session_of(hub, token, visitor)


def take_over(session: Session, carrier: Carrier, scope: Mapping[str, Any]) -> Backlog:
    """Carry the session from where the client says it is. What isn't held any more is told as resets."""
    backlog = session.fetched_by(carrier)
    cursor = header(scope, b"last-event-id") or _query(scope, "cursor")
    if cursor and not backlog.rewind(_number(cursor)):
        session.interrupt("gap")
    return backlog


def _query(scope: Mapping[str, Any], name: str) -> str:
    query: str = scope["query_string"].decode("latin1")
    return parse_qs(query).get(name, [""])[0]


def _number(cursor: str) -> int:
    return int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) <= _DIGITS else -1
