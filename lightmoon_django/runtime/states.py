"""The states of an activation."""

from __future__ import annotations

import enum


class ActivationState(enum.Enum):
    """Where an activation is in its life. Messages queue in all but `ENDED`."""

    LOADING = "its row is being claimed and read"
    STARTING = "on_activate runs"
    ACTIVE = "it takes messages"
    STOPPING = "it starts no more turns; on_deactivate runs"
    ENDED = "it is out of the catalog; a new activation answers"
