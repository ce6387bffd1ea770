"""Every error that LightMoon raises or sends, in one tree.

Each leaf has a stable `code` (the slug that clients match on), an `rpc_code` (the JSON-RPC number), and says whether
it is `public` (its message may reach a client) and `retryable` (the same call may be sent again, because nothing of
it happened).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar


class LightMoonError(Exception):
    """The root. Raised as itself only when no leaf fits."""

    code: str = "internal"
    rpc_code: ClassVar[int] = 5000
    public: ClassVar[bool] = True
    retryable: bool = False

    def __init__(self, message: str = "", *, retry_after: float | None = None, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after  # seconds
        self.path = path  # where in the input, as `$.amount`

    def as_rpc(self) -> dict[str, Any]:
        """The JSON-RPC error object: `code`, `message` and `data` as the protocol page fixes them."""
        data: dict[str, Any] = {"type": self.code, "retryable": self.retryable}
        if self.retry_after is not None:
            data["retry_after"] = self.retry_after
        if self.path is not None:
            data["path"] = self.path
        data.update(self.details())
        return {"code": self.rpc_code, "message": self.message, "data": data}

    def details(self) -> Mapping[str, Any]:
        """What a leaf adds to `data`."""
        return {}


class Rejected(LightMoonError):
    """The actor says no. The one error that user code is meant to raise, and to subclass.

    `code` is the slug that clients match on, `data` anything JSON can carry. The turn rolls back; the caller, on
    whichever node or client it is, gets the same class, message, code and data.
    """

    code = "rejected"
    rpc_code = 4001

    def __init__(self, message: str = "", *, code: str | None = None, data: Any = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.data = data

    def details(self) -> Mapping[str, Any]:
        return {} if self.data is None else {"detail": self.data}


class Forbidden(LightMoonError):
    """A permission class refused the caller. Nothing ran and nothing was activated."""

    code = "forbidden"
    rpc_code = 4003


class ActorNotFound(LightMoonError):
    """There is no such row and the actor is not declared with `create=True`."""

    code = "not_found"
    rpc_code = 4004


class OutcomeUnknown(LightMoonError):
    """The call may or may not have happened: its commit had begun when the answer was due or the connection broke.

    Differs from `DeadlineExceeded`, which promises that nothing happened.
    """

    code = "outcome_unknown"
    rpc_code = 4008


class DeadlockError(LightMoonError):
    """The call would wait for itself. `cycle` names the actors on the way round, first and last the same."""

    code = "deadlock"
    rpc_code = 4010

    def __init__(self, cycle: list[str]) -> None:
        self.cycle = cycle
        super().__init__(
            f"Deadlock: {' → '.join(cycle)}. Each waits for the next to finish its turn. "
            "Use .tell() for one of the calls, or declare the message reentrant."
        )

    def details(self) -> Mapping[str, Any]:
        return {"cycle": self.cycle}


class TooDeep(LightMoonError):
    """Calls are nested deeper than `CALL_DEPTH`: most likely they call each other without an end."""

    code = "too_deep"
    rpc_code = 4010


class TooLarge(LightMoonError):
    """A frame, request or response is over its limit. The connection stays usable."""

    code = "too_large"
    rpc_code = 4013


class UpgradeNeeded(LightMoonError):
    """The client speaks another protocol or was generated from another schema. It must reload."""

    code = "upgrade_needed"
    rpc_code = 4026


class Overloaded(LightMoonError):
    """A bounded queue is full or a rate is exceeded. Nothing happened; try again after `retry_after` seconds."""

    code = "overloaded"
    rpc_code = 4029
    retryable = True


class InternalError(LightMoonError):
    """User code raised something undeclared. Clients see only `error_id`, which stands in the server's log."""

    code = "internal"
    rpc_code = 5000
    public = False

    def __init__(
        self, message: str = "The actor failed.", *, error_id: str | None = None, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.error_id = error_id or uuid.uuid4().hex
        self.detail = detail  # filled under DEBUG only

    def details(self) -> Mapping[str, Any]:
        found = {"error_id": self.error_id}
        if self.detail is not None:
            found["detail"] = self.detail
        return found


class Unavailable(LightMoonError):
    """The actor can't be reached now: another process owns it, the database is away, or this node is stopping."""

    code = "unavailable"
    rpc_code = 5003
    retryable = True


class DeadlineExceeded(Unavailable):
    """The call's deadline passed before it took effect: it never ran, or its turn was abandoned and rolled back."""

    code = "deadline_exceeded"


class Conflict(Unavailable):
    """The turn built on state that was not kept (an outside write, a failed commit). Nothing of it was stored."""

    code = "conflict"


class Cancelled(LightMoonError):
    """The caller cancelled the call. Its turn did not run, or was rolled back."""

    code = "cancelled"
    rpc_code = -32800


class ParseError(LightMoonError):
    """The frame is not JSON, or is nested too deeply."""

    code = "parse_error"
    rpc_code = -32700


class InvalidRequest(LightMoonError):
    """JSON, but not a JSON-RPC 2.0 request; or a string id reused for a different call."""

    code = "invalid_request"
    rpc_code = -32600


class MethodNotFound(LightMoonError):
    """Unknown, private and unexposed messages alike: clients can't tell them apart."""

    code = "method_not_found"
    rpc_code = -32601


class InvalidParams(LightMoonError):
    """An argument doesn't fit its type hint, or the key is not in its canonical form. `path` says where."""

    code = "invalid_params"
    rpc_code = -32602


class UsageError(LightMoonError, RuntimeError):
    """LightMoon is used in a way that can't work, as `.sync()` inside an open transaction. Says what to do instead."""

    code = "usage"
    public = False


E = TypeVar("E", bound=LightMoonError)


def revive(cls: type[E], message: str, code: str, carried: Mapping[str, Any]) -> E:
    """An error as it was raised elsewhere. `carried` is what its class has besides; its constructor isn't called."""
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.message, error.retry_after, error.path = message, None, None
    if code != cls.code:
        error.code = code
    if isinstance(error, Rejected):
        error.data = None
    if isinstance(error, InternalError):
        error.error_id, error.detail = "", None
    for name, value in carried.items():
        setattr(error, name, value)
    return error
