"""`python -m bench.scale.upkeep POSTGRES_PID`: what nodes cost that do nothing. Prints JSON, in microseconds and bytes.

With the settings of `bench.project` in the environment.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

TIMES = 400  # a thing is done for each figure
SIZES = (10, 1000)  # nodes in the table
CROWD = 20  # connections that are weighed together
LEASE = 3600.0  # seconds; nobody may die meanwhile
MICRO = 1e6


def main(postgres: psutil.Process) -> dict[str, float]:
    import django

    django.setup()
    from lightmoon_django.identity import Endpoint, new_incarnation
    from lightmoon_django.models import Node
    from lightmoon_django.persistence.deliveries import Deliveries
    from lightmoon_django.persistence.nodes import Nodes

    nodes, deliveries = Nodes("default"), Deliveries("default")
    surveys: dict[int, tuple[float, float]] = {}
    ids: list[int] = []
    for size in SIZES:
        while len(ids) < size:
            ids.append(new_incarnation())
            nodes.register(ids[-1], LEASE, Endpoint("", f"/tmp/lightmoon-0/{ids[-1]:016x}.1.sock", "lightmoon.node.1"))
        Node.objects.update(host="another machine")  # else each is looked for among this one's processes
        surveys[size] = _cost(postgres, nodes.survey, TIMES if size < 100 else TIMES // 2)
    heartbeat, _ = _cost(postgres, lambda: nodes.heartbeat(ids[0], LEASE), TIMES)
    look, _ = _cost(postgres, deliveries.next_due, TIMES)
    Node.objects.filter(pk__in=ids).delete()
    few, many = SIZES
    rows = [(surveys[many][side] - surveys[few][side]) / (many - few) for side in range(2)]
    return {
        "heartbeat_database": heartbeat,
        "look_database": look,
        "survey_database": surveys[few][0] - few * rows[0],
        "survey_database_row": rows[0],
        "survey_node": surveys[few][1] - few * rows[1],
        "survey_node_row": rows[1],
        "backend_memory": _backend(postgres, nodes),
    }


def _cost(postgres: psutil.Process, do: Callable[[], object], times: int) -> tuple[float, float]:
    """Of the connection's backend, and of this process."""
    for _ in range(5):
        do()
    backend = _own_backend(postgres)
    before, mine = _spent(backend), time.process_time()
    for _ in range(times):
        do()
    return MICRO * (_spent(backend) - before) / times, MICRO * (time.process_time() - mine) / times


def _own_backend(postgres: psutil.Process) -> psutil.Process:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return psutil.Process(cursor.fetchone()[0])


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _backend(postgres: psutil.Process, nodes: Any) -> float:
    """What a backend has for itself that did a node's work, shared buffers not counted."""
    over, ready = threading.Event(), threading.Semaphore(0)
    pids: list[int] = []

    def hold() -> None:
        from django.db import connections

        pids.append(_own_backend(postgres).pid)
        nodes.survey()
        ready.release()
        over.wait()
        connections.close_all()

    threads = [threading.Thread(target=hold) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    weight = sum(psutil.Process(pid).memory_full_info().uss for pid in pids) / len(pids)
    over.set()
    for thread in threads:
        thread.join()
    return float(weight)


if __name__ == "__main__":
    print(json.dumps(main(psutil.Process(int(sys.argv[1])))))
