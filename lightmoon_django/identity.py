"""Names of things: the address of an actor, the incarnation of a node, the position in a stream."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import NamedTuple


class Address(NamedTuple):
    """Where an actor answers: its type's wire name (`app_label.Class`) and its key in canonical form."""

    actor: str
    key: str

    def __str__(self) -> str:
        return f"{self.actor}:{self.key}"


class Position(NamedTuple):
    """Where in an actor's stream somebody stands: the last frame that it has, of which activation."""

    epoch: str
    seq: int


class Endpoint(NamedTuple):
    """Where a node can be reached. Empty texts mean that it can't be in this way."""

    host: str  # boot id and pid namespace: a socket leads there only from the same one
    socket: str = ""  # the path of its Unix socket
    channel: str = ""  # of the channel layer
    roles: str = ""  # separated by spaces
    network: int = 0  # what its links call it, for all its incarnations; 0: it has none
    load: int = 0  # how many actors it has in memory, as of its last heartbeat


def new_incarnation() -> int:
    """A new id for one start of one node: 63 bits, ordered by time to the millisecond, never reused.

    41 bits of milliseconds since 2020, then 22 random ones.
    """
    milliseconds = int(time.time() * 1000) - 1_577_836_800_000
    return (milliseconds & (2**41 - 1)) << 22 | secrets.randbits(22)


_epochs = itertools.count()


def new_epoch(claimed_at: int) -> str:
    """The epoch of one activation, which orders as a string after all earlier ones of the same actor.

    `claimed_at` is microseconds on the clock that orders claims: the database's where it has one.
    """
    return f"{claimed_at:014x}{next(_epochs) & 0xFFFF:04x}"
