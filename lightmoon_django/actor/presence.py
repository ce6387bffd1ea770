"""Who follows an actor, as its own code sees it: `turn.presence`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A user who follows the actor, by one connection or several."""

    user: str
    """The user's key as text; empty for all who are anonymous."""
    info: Mapping[str, Any]
    """What `@actor(presence=[…])` shows of the user."""
    connections: Mapping[str, Mapping[str, Any]]
    """Each connection by a name of its own: `at`, when it came (ISO 8601), and `meta`, what the client says of it.

    Clients may say whatever they like; there is no `meta` where they said nothing.
    """
