"""What follows from the unit costs. Everything here is calculated: sums and products, nothing is simulated in time."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.scale.units import Units

MICRO = 1e-6
MIB = 1024 * 1024
MOST = 1000  # nodes that are thought of

# How often a node does what it does when nobody calls; the package's own constants.
BEATS = 3 / 5  # per second: three per lease of 5 s
SURVEYS = 2.0  # per second, while another node is known
LOOKS = 1.0  # for reminders, per second
CONNECTIONS = 3  # to each database: store, heartbeat, and looking up others


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one of each can carry, at which something has saturated. Assumptions, to be replaced by your own."""

    node_cores: float = 0.7  # of the one that a process can use
    node_memory: float = 4096 * MIB
    database_cores: float = 32 * 0.7
    database_commits: float = 30_000  # transactions per second, with a fast disk for the log
    database_log: float = 400e6  # bytes per second
    database_connections: float = 5000
    database_disk: float = 4e12
    redis_cores: float = 0.7  # of its one thread


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one actor sees of the world, on average over all actors."""

    name: str
    calls: float  # durable ones from clients, per second
    elsewhere: float = 0.5  # share of them that arrive at another machine than the actor's
    in_memory: float  # share of the actors
    stay: float = 600.0  # seconds that one stays in memory
    clients: float  # connected ones
    followers: float  # subscriptions
    events: float  # per second, to each of its followers
    hearers: float = 1.0  # other machines on which the followers of a followed actor are


QUIET = Workload(name="Quiet", calls=1 / 3600, in_memory=0.01, clients=0.01, followers=0.01, events=1 / 3600)
BUSY = Workload(name="Busy", calls=1 / 100, in_memory=0.10, clients=0.10, followers=0.10, events=1 / 100)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    nodes: int
    actors: float
    databases: int = 1
    redis: int = 1
    partitioned: bool = False  # each node hosts actors of one database only


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """Of one node, one database and one Redis, each an average one."""

    node_cores: float
    node_memory: float
    database_cores: float
    database_upkeep: float  # cores, of the above: what idle nodes cost
    database_commits: float
    database_log: float
    database_connections: float
    database_memory: float  # bytes, of connections
    database_disk: float
    redis_cores: float
    survey_rows: float  # read per second

    def saturated(self, limits: Limits) -> dict[str, float]:
        """How far each resource is used, the worst first; beyond 1 it is too small."""
        shares = {
            field.name: getattr(self, field.name) / getattr(limits, field.name) for field in dataclasses.fields(limits)
        }
        return dict(sorted(shares.items(), key=lambda one: -one[1]))


def loads(shape: Shape, work: Workload, units: Units) -> Loads:
    """What one node, one database and one Redis of that shape have to do."""
    nodes, databases = shape.nodes, shape.databases
    calls = shape.actors * work.calls
    activations = shape.actors * work.in_memory / work.stay
    events = shape.actors * work.followers * work.events
    groups = _groups(shape, calls, units)
    hops = _hops(shape, work, units)
    seen = nodes / databases if shape.partitioned else nodes  # nodes in one database's table
    reads = 1 if shape.partitioned else databases  # databases that one node keeps a lease in
    surveys = SURVEYS if nodes > 1 else 0.0
    survey = units.survey_database + seen * units.survey_database_row
    upkeep = seen * (BEATS * units.heartbeat_database + LOOKS * units.look_database + surveys * survey)
    node = calls * units.call_node + activations * units.activation_node + events * units.delivery_node + hops.node
    survey_node = reads * surveys * (units.survey_node + seen * units.survey_node_row)
    memory = shape.actors * (
        work.in_memory * units.actor_memory
        + work.clients * units.connection_memory
        + work.followers * units.subscription_memory
    )
    rows = calls * units.call_database + activations * units.activation_database
    return Loads(
        node_cores=(node / nodes + survey_node) * MICRO,
        node_memory=memory / nodes,
        database_cores=((rows + groups * units.group_database) / databases + upkeep) * MICRO,
        database_upkeep=upkeep * MICRO,
        database_commits=groups / databases + seen * BEATS,
        database_log=calls * units.call_log / databases,
        database_connections=seen * CONNECTIONS,
        database_memory=seen * CONNECTIONS * units.backend_memory,
        database_disk=shape.actors * units.actor_disk / databases,
        redis_cores=hops.redis * MICRO / shape.redis,
        survey_rows=surveys * seen * seen,
    )


def _groups(shape: Shape, calls: float, units: Units) -> float:
    """Commit groups per second of all nodes: a node that is called rarely commits each call alone."""
    stores = shape.nodes * (1 if shape.partitioned else shape.databases)  # each node has one store per database
    each = calls / stores
    return stores * each / (1 + each * units.group_seconds * MICRO)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """Microseconds per second, of all nodes and of all Redis servers."""

    node: float
    redis: float


def _hops(shape: Shape, work: Workload, units: Units) -> Hops:
    """Calls and events between machines: what goes to one peer at a time shares a packet, so rare ones cost more."""
    if shape.nodes < 2:
        return Hops(node=0.0, redis=0.0)
    calls = shape.actors * work.calls * work.elsewhere
    frames = shape.actors * min(work.followers, 1.0) * work.events * work.hearers
    hops = calls + frames / 2  # an event is one way
    together = 1 + hops / (shape.nodes * (shape.nodes - 1)) * units.lone_hop_seconds * MICRO
    node, redis = units.hop_asking + units.hop_answering, units.hop_redis
    lone = units.lone_hop_asking + units.lone_hop_answering
    return Hops(
        node=hops * (node + max(0.0, lone - node) / together),
        redis=hops * (redis + max(0.0, units.lone_hop_redis - redis) / together),
    )


def nodes_needed(actors: float, work: Workload, units: Units, limits: Limits, **shape: Any) -> int:
    """The fewest nodes, from two on, whose processors and memory are enough; `MOST` where none are."""
    low, high = 2, MOST
    while low < high:
        middle = (low + high) // 2
        found = loads(Shape(nodes=middle, actors=actors, **shape), work, units)
        if found.node_cores <= limits.node_cores and found.node_memory <= limits.node_memory:
            high = middle
        else:
            low = middle + 1
    return low
