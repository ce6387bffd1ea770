"""All live sessions of this process, for whoever starts and stops the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightmoon_django.gateway import hub

if TYPE_CHECKING:
    from lightmoon_django.gateway.session import Session


def sessions() -> tuple[Session, ...]:
    """All sessions, those too that are without a connection for a while. Look at them on the node's loop."""
    found = hub.current()
    return tuple(found.sessions.values()) if found is not None else ()


def closing(reason: str, retry_after: float) -> None:
    """Tell every session that the server is about to go, and after how many seconds to come back. On the node's loop.

    Sessions that come later are refused with 1013. Event streams and polls end, so that no server waits for them.
    """
    found = hub.current()
    if found is not None:
        found.say_closing(reason, retry_after)
