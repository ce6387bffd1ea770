"""What carries a session's frames to its client: a WebSocket, an event stream, or one poll after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lightmoon_django.gateway.session import Session

GOING_AWAY = 1001  # WebSocket close codes; the other carriers just end
TRY_AGAIN_LATER = 1013
SIGNED_OUT = 4401
TAKEN_OVER = 4409


class Carrier(Protocol):
    """A session has one at a time, or none for a while."""

    session: Session
    """Whose frames it carries."""

    @property
    def portable(self) -> bool:
        """Whether the session above it can be exchanged, as `lm.hello` with an earlier session's token does."""

    def end(self, code: int) -> None:
        """Stop, from the server's side. Doesn't wait for a client that doesn't read."""
