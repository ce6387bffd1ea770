"""Where a client's connection is."""

from __future__ import annotations

import enum


class State(enum.Enum):
    CONNECTING = "the socket or the handshake is on its way"
    OPEN = "calls are answered"
    WAITING = "the connection was lost; the next attempt has its time"
    CLOSED = "not yet opened, or closed, or the server needs another version"
