"""What the load generator can be told to do, and what it answers. Both travel as JSON."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One server as the generator sees it."""

    host: str
    port: int
    path: str
    server_pid: int
    database_pid: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """A closed loop: every client has one call in flight.

    `call` holds `{id}` and `{key}`. With at most as many keys as clients, a client keeps to one; with more, each walks
    through its own share. `seconds` of 0 means: every key once, then stop.
    """

    target: Target
    call: str
    answer: str  # in every good answer
    clients: int
    first_key: int
    keys: int
    warm_up: float = 1.0  # seconds
    seconds: float = 4.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fanout:
    """One publisher, many subscribers. `window` events are on their way at once, so that the server never waits."""

    target: Target
    subscribe: str  # sent by each subscriber; empty when connecting is enough
    subscribed: str  # in the answer to it
    publisher_path: str
    publish: str  # holds `{id}`
    event: str  # in every delivered event
    subscribers: int
    window: int = 3
    warm_up: float = 1.0  # seconds
    seconds: float = 4.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Open connections, exchange one or two messages on each, and hold them until a line comes on standard input."""

    target: Target
    connections: int
    greeting: str
    answer: str
    subscribe: str = ""
    subscribed: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Connections that greet and subscribe in peace, are all cut at once, and all come back at once.

    `again` greets with the session of before in place of `{session}`; `recovered` is in the answer to that.
    """

    target: Target
    connections: int
    greeting: str
    again: str
    recovered: str
    subscribe: str
    subscribed: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hot:
    """One publisher who never waits for his readers, many subscribers over two transports, one of whom never reads."""

    target: Target
    events_path: str  # of event streams; calls of theirs go to `rpc` beside it
    hello: str
    subscribe: str
    publish: str  # holds `{id}`
    websockets: int
    streams: int  # of server-sent events
    seconds: float
    least: int  # events, however long they take


class Fate(enum.StrEnum):
    """What somebody who never read finds when it reads at last."""

    WHOLE = "every event, which the sockets held"
    RESET = "a row without a gap, and then that it lost its stream"
    DROPPED = "a row without a gap, and then no connection"
    GAP = "events that are missing, of which nothing is said"
    BEHIND = "a row that just ends"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """What came of it."""

    published: int
    subscribers: int  # who read
    delivered: int  # in those seconds
    seconds: float
    gaps: int  # where an event was missing and nothing said so; must be none
    first_gap: str
    resets: int  # of those who read
    fate: Fate  # of the one who doesn't
    behind: int  # subscribers who did not have the last event in the end, and were not told of a reset
    memory: list[int]  # bytes of the server, every second
    load_cpu: float
    server_cpu: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stormed:
    """How the storm was weathered."""

    count: int
    seconds: float
    errors: int
    first_error: str
    recovered: int
    load_cpu: float
    server_cpu: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The result of one run. Times are milliseconds, CPU is cores."""

    count: int
    seconds: float
    rate: float
    p50: float
    p99: float
    slowest: float
    errors: int
    first_error: str
    load_cpu: float
    server_cpu: float
    database_cpu: float
    slowest_of_client: list[float]
    timeline: list[int]  # answers per quarter of a second

    @classmethod
    def read(cls, values: dict[str, Any]) -> Measured:
        return cls(**values)


Job = Calls | Fanout | Idle | Storm | Hot

KINDS: dict[str, type[Job]] = {"calls": Calls, "fanout": Fanout, "idle": Idle, "storm": Storm, "hot": Hot}


def to_json(job: Job) -> dict[str, Any]:
    return {"kind": type(job).__name__.lower(), **dataclasses.asdict(job)}


def from_json(values: dict[str, Any]) -> Job:
    kind = KINDS[values.pop("kind")]
    return kind(**{**values, "target": Target(**values["target"])})
