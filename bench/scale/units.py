"""The unit costs: what one thing costs once. All are measured; nothing here is an estimate."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

PATH = pathlib.Path(__file__).with_name("units.json")

CPU = "µs of a core"
TIME = "µs"
SIZE = "bytes"


def _cost(unit: str, what: str) -> Any:
    return dataclasses.field(metadata={"unit": unit, "what": what})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """`python -m bench.scale --measure` finds them and writes them to `units.json`."""

    call_node: float = _cost(CPU, "a durable call of a client, from its frame to its answer: in the node")
    call_database: float = _cost(CPU, "its row in a commit group: in PostgreSQL")
    call_log: float = _cost(SIZE, "what PostgreSQL writes ahead for it")
    group_database: float = _cost(CPU, "a commit group, whatever is in it: in PostgreSQL")
    group_seconds: float = _cost(TIME, "from one group of a busy node to its next; calls meanwhile share it")
    activation_node: float = _cost(CPU, "a first call to an actor that isn't in memory: in the node")
    activation_database: float = _cost(CPU, "its claim and load, and its row in a commit group: in PostgreSQL")
    actor_memory: float = _cost(SIZE, "an idle actor with three small fields in a node's memory")
    actor_disk: float = _cost(SIZE, "its row, and its key in the index")
    connection_memory: float = _cost(SIZE, "an idle client in a node's memory")
    subscription_memory: float = _cost(SIZE, "the same client when it follows an actor: so much more")
    delivery_node: float = _cost(CPU, "an event to one client more: in the client's node")
    hop_asking: float = _cost(CPU, "a request to another machine and its answer, 100 at once: in the asking node")
    hop_answering: float = _cost(CPU, "the same: in the answering node")
    hop_redis: float = _cost(CPU, "the same: in Redis")
    lone_hop_asking: float = _cost(CPU, "a request to another machine and its answer, alone: in the asking node")
    lone_hop_answering: float = _cost(CPU, "the same: in the answering node")
    lone_hop_redis: float = _cost(CPU, "the same: in Redis")
    lone_hop_seconds: float = _cost(TIME, "how long it takes")
    heartbeat_database: float = _cost(CPU, "a heartbeat: in PostgreSQL")
    look_database: float = _cost(CPU, "a look for reminders when none is due: in PostgreSQL")
    survey_database: float = _cost(CPU, "reading the table of nodes: in PostgreSQL, for a start")
    survey_database_row: float = _cost(CPU, "and for each node in it")
    survey_node: float = _cost(CPU, "reading the table of nodes: in the node, for a start")
    survey_node_row: float = _cost(CPU, "and for each node in it")
    backend_memory: float = _cost(SIZE, "one of a node's connections: PostgreSQL's own memory, shared buffers left out")


def load() -> Units:
    return Units(**json.loads(PATH.read_text()))


def save(units: Units) -> None:
    found = {name: round(value, 1) for name, value in dataclasses.asdict(units).items()}
    PATH.write_text(json.dumps(found, indent=2) + "\n")
