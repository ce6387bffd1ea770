"""JSON-RPC messages as text, put together from parts that are already encoded."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from django.conf import settings as django_settings

from lightmoon_django import codec
from lightmoon_django.errors import InternalError, LightMoonError

logger = logging.getLogger("lightmoon.gateway")

NULL = "null"  # the id of an answer to what had none that could be read


def result(request_id: str, payload: str) -> str:
    """The answer to the request whose encoded id is given; `payload` is the encoded result."""
    return f'{{"jsonrpc":"2.0","id":{request_id},"result":{payload}}}'


def failure(request_id: str, error: LightMoonError) -> str:
    """The answer that says why there is no result. Errors that aren't public are logged and sent as `InternalError`."""
    if not error.public and not isinstance(error, InternalError):
        error = internal(error)
    return f'{{"jsonrpc":"2.0","id":{request_id},"error":{_encoded(error)}}}'


def notification(method: str, params: dict[str, Any]) -> str:
    """A message from the server that expects no answer."""
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{codec.encode_json(params).decode()}}}'


def closing(reason: str, retry_after: float) -> str:
    """The connection is about to end; the client should come back after that many seconds."""
    return notification("lm.closing", {"reason": reason, "retry_after": retry_after})


def internal(error: BaseException) -> InternalError:
    """Log an unforeseen error; what the client sees of it is an id, and the traceback under DEBUG."""
    detail = "".join(traceback.format_exception(error)) if django_settings.DEBUG else None
    found = InternalError("The server failed.", detail=detail)
    logger.error(
        "A request failed (%s)",
        found.error_id,
        exc_info=error,
        extra={"action": "request_failed", "error_id": found.error_id},
    )
    return found


def _encoded(error: LightMoonError) -> str:
    try:
        return codec.encode_json(error.as_rpc()).decode()
    except (TypeError, ValueError, OverflowError) as unsendable:  # its message or data can't be JSON
        return codec.encode_json(internal(unsendable).as_rpc()).decode()
