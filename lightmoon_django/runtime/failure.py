"""What a caller is told of an exception that a turn raised."""

from __future__ import annotations

import logging

from lightmoon_django.actor.call import Call
from lightmoon_django.errors import (
    Conflict,
    InternalError,
    InvalidParams,
    InvalidRequest,
    LightMoonError,
    MethodNotFound,
    ParseError,
)
from lightmoon_django.persistence.records import StaleReminder

logger = logging.getLogger("lightmoon")

# Raised inside a handler these tell of the handler's own mistake, not of its caller's.
_NOT_THE_CALLERS = (InvalidParams, InvalidRequest, MethodNotFound, ParseError)


def explained(error: BaseException, call: Call, debug: bool) -> LightMoonError:
    """The error for the caller: declared ones as they are, anything else as an `InternalError` that is logged here."""
    if isinstance(error, LightMoonError) and not isinstance(error, _NOT_THE_CALLERS) and error.public:
        return error
    if isinstance(error, InternalError):  # logged where it arose
        return error
    if isinstance(error, StaleReminder):
        outdated = Conflict("The reminder was cancelled or set anew before it fired.")
        outdated.__cause__ = error
        return outdated
    hidden = InternalError(detail=f"{type(error).__name__}: {error}" if debug else None)
    hidden.__cause__ = error
    logger.error(
        "%s of %s failed (error %s).",
        call.message.name,
        call.address,
        hidden.error_id,
        exc_info=error,
        extra={"action": "turn_failed", "actor": str(call.address), "error_id": hidden.error_id},
    )
    return hidden


def for_operators(error: LightMoonError) -> str:
    """The error for who may know what no client may."""
    cause = error.__cause__
    return str(error) if cause is None else f"{type(cause).__name__}: {cause}"
