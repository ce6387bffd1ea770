"""The life of one call: queued, sent, done; adrift while there is no connection."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any, Protocol

from lightmoon_django import codec
from lightmoon_django.client import refusals
from lightmoon_django.errors import LightMoonError, OutcomeUnknown, TooLarge, Unavailable


class CallState(enum.Enum):
    QUEUED = "not sent: nothing of it happened"
    SENT = "its answer is awaited"
    ADRIFT = "the connection broke; sent again if the session goes on, else its outcome is unknown"
    DONE = "it was answered, or failed"


class Wire(Protocol):
    """What a call is sent by; see `connection.Connection`."""

    request_limit: int | None

    def send(self, frame: str) -> None: ...


class Call:
    """It ends by exactly one of `resolve` and `reject`, which are called before the next frame is read.

    It waits `timeout` seconds to be sent, or to be sent again; once sent, the server answers by its own deadline or the
    connection breaks. A `fleeting` call means its own connection alone, and is never sent again.
    """

    __slots__ = (
        "_abandoned",
        "_fleeting",
        "_frame",
        "_reject",
        "_resolve",
        "_settled",
        "_timeout",
        "_timer",
        "_wire",
        "id",
        "state",
    )

    def __init__(
        self,
        id: str,
        method: str,
        params: Any,
        *,
        resolve: Callable[[Any], object],
        reject: Callable[[LightMoonError], object],
        settled: Callable[[Call], object],
        timeout: float,
        fleeting: bool = False,
    ) -> None:
        """Raises `TypeError` or `ValueError` for what JSON can't carry. `settled` is called first when it is over."""
        self.id = id
        self.state = CallState.QUEUED
        self._frame = codec.encode_json({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).decode()
        self._resolve = resolve
        self._reject = reject
        self._settled = settled
        self._timeout = timeout
        self._fleeting = fleeting
        self._abandoned = False
        self._wire: Wire | None = None
        self._timer: asyncio.TimerHandle | None = None

    def wait(self) -> None:
        """There is no connection now."""
        self._expire(lambda: Unavailable("There is no connection to the server."))

    def send(self, wire: Wire) -> None:
        """Send it, also again. Nothing happens when it is sent or done already."""
        if self.state not in (CallState.QUEUED, CallState.ADRIFT):
            return
        limit = wire.request_limit
        if limit is not None and len(self._frame) * 3 > limit and len(self._frame.encode()) > limit:
            self.fail(TooLarge(f"A request may have {limit} bytes."))  # the server couldn't say which one it was
            return
        if self._abandoned:
            wire.send(cancellation(self.id))
            self._end()
            return
        self._stop_timer()
        self.state = CallState.SENT
        self._wire = wire
        wire.send(self._frame)

    def answer(self, message: dict[str, Any]) -> None:
        """The server's answer."""
        if (error := message.get("error")) is not None:
            self.fail(refusals.error_of(error))
        elif self._end():
            self._resolve(message.get("result"))

    def disconnected(self, *, resumable: bool) -> None:
        """The connection is gone. What was not sent waits for the next one; so does the rest, if `resumable`."""
        if self.state is not CallState.SENT:
            return
        if not resumable or self._fleeting:
            self.fail(_unknown())
            return
        self.state = CallState.ADRIFT
        self._expire(_unknown)

    def stranded(self) -> None:
        """There is a connection again, but the session that knew this call is gone."""
        if self.state is CallState.ADRIFT:
            self.fail(_unknown())

    def abandon(self) -> None:
        """Nobody waits for it any more: take it back, now or when there is a connection again."""
        if self.state is CallState.QUEUED:
            self._end()
        elif self.state is not CallState.DONE:
            self._abandoned = True
            if self.state is CallState.SENT and self._wire is not None:
                self._wire.send(cancellation(self.id))

    def give_up(self, error: LightMoonError) -> None:
        """No connection is waited for any more. Of a call that was sent nobody knows whether it happened."""
        if self.state is CallState.QUEUED:
            self.fail(error)
        else:
            unknown = _unknown()
            unknown.__cause__ = error
            self.fail(unknown)

    def fail(self, error: LightMoonError) -> None:
        """End it, unless it has ended."""
        if self._end():
            self._reject(error)

    def _expire(self, error: Callable[[], LightMoonError]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self._timeout, lambda: self.fail(error()))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> bool:
        if self.state is CallState.DONE:
            return False
        self.state = CallState.DONE
        self._stop_timer()
        self._settled(self)
        return True


def cancellation(id: str) -> str:
    """The frame that takes a call back."""
    return notification("$/cancelRequest", {"id": id})


def notification(method: str, params: Any) -> str:
    """The frame of a call that nobody answers. Raises `TypeError` or `ValueError` for what JSON can't carry."""
    return codec.encode_json({"jsonrpc": "2.0", "method": method, "params": params}).decode()


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("The connection was lost before the answer came. The call may or may not have happened.")
