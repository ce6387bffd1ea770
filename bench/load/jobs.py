"""What the load generator can be told to do, and what it answers. Both travel as JSON."""

from __future__ import annotations

import dataclasses
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
    """Open connections, exchange one message on each, and hold them until a line comes on standard input."""

    target: Target
    connections: int
    greeting: str
    answer: str


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


KINDS: dict[str, type[Calls] | type[Fanout] | type[Idle]] = {"calls": Calls, "fanout": Fanout, "idle": Idle}


def to_json(job: Calls | Fanout | Idle) -> dict[str, Any]:
    return {"kind": type(job).__name__.lower(), **dataclasses.asdict(job)}


def from_json(values: dict[str, Any]) -> Calls | Fanout | Idle:
    kind = KINDS[values.pop("kind")]
    return kind(**{**values, "target": Target(**values["target"])})
