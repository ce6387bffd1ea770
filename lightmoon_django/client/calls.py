"""All calls of one client that are not over."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from lightmoon_django.client.call import Call, CallState, Wire
from lightmoon_django.errors import LightMoonError


class Calls:
    """By their ids, which no other client has: the server knows a call that is sent again by it."""

    def __init__(self, timeout: float, settled: Callable[[], object]) -> None:
        """`settled` is called whenever one is over."""
        self._timeout = timeout
        self._told = settled
        self._calls: dict[str, Call] = {}
        self._prefix = secrets.token_hex(6)
        self._count = 0

    def __len__(self) -> int:
        return len(self._calls)

    def new(
        self,
        method: str,
        params: Any,
        resolve: Callable[[Any], object],
        reject: Callable[[LightMoonError], object],
        *,
        id: str | None,
        fleeting: bool,
    ) -> Call:
        """A call that was not sent yet. Raises `TypeError` or `ValueError` for what can't be sent."""
        if id is None:
            self._count += 1
            id = f"{self._prefix}-{self._count:x}"
        elif id in self._calls:
            raise ValueError(f"A call with the id {id!r} is under way.")
        call = Call(
            id,
            method,
            params,
            resolve=resolve,
            reject=reject,
            settled=self._settled,
            timeout=self._timeout,
            fleeting=fleeting,
        )
        self._calls[id] = call
        return call

    def answer(self, message: dict[str, Any]) -> None:
        """An answer of the server; one that nobody waits for is ignored."""
        call = self._calls.get(message.get("id", ""))
        if call is not None:
            call.answer(message)

    def connected(self, wire: Wire, *, recovered: bool) -> None:
        """Send what waits. Without the session, the outcome of what was sent before is unknown."""
        for call in tuple(self._calls.values()):
            if not recovered:
                call.stranded()
            call.send(wire)

    def disconnected(self, *, resumable: bool) -> None:
        """The connection is gone."""
        for call in tuple(self._calls.values()):
            call.disconnected(resumable=resumable)

    def give_up(self, error: LightMoonError) -> None:
        """End all: there will be no connection for them."""
        for call in tuple(self._calls.values()):
            call.give_up(error)

    @property
    def under_way(self) -> bool:
        """Whether an answer is awaited on this connection."""
        return any(call.state is CallState.SENT for call in self._calls.values())

    def _settled(self, call: Call) -> None:
        if self._calls.get(call.id) is call:
            del self._calls[call.id]
            self._told()
