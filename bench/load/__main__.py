"""`python -m bench.load`: a job as one JSON line on standard input, `started` and the result as lines on output."""

from __future__ import annotations

import dataclasses
import gc
import json
import sys
import time

from bench.limits import raise_limit
from bench.load import calls, fanout, hot, storm
from bench.load.connections import Disconnected, Pool, ask_all
from bench.load.jobs import Calls, Fanout, Heat, Hot, Idle, Measured, Storm, Stormed, from_json


def main() -> int:
    raise_limit()
    gc.disable()  # nothing here makes cycles, and a pause would look like the server's
    job = from_json(json.loads(sys.stdin.readline()))
    result: Measured | Stormed | Heat
    try:
        match job:
            case Calls():
                result = calls.run(job, started)
            case Fanout():
                result = fanout.run(job, started)
            case Storm():
                result = storm.run(job, started)
            case Hot():
                result = hot.run(job, started)
            case Idle():
                hold(job)
                return 0
    except (Disconnected, OSError) as error:
        say({"failed": f"{type(error).__name__}: {error}"})
        return 1
    say(dataclasses.asdict(result))
    return 0


def hold(job: Idle) -> None:
    pool = Pool(job.target.host, job.target.port)
    began = time.perf_counter()
    opened = pool.open(job.target.path, job.connections)
    ask_all(pool, opened, job.greeting.encode(), job.answer.encode(), 120.0)
    if job.subscribe:
        for connection in opened:
            connection.ready = False
        ask_all(pool, opened, job.subscribe.encode(), job.subscribed.encode(), 120.0)
    started(seconds=time.perf_counter() - began)
    sys.stdin.readline()
    pool.close()


def started(**values: object) -> None:
    say({"started": True, **values})


def say(values: dict[str, object]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
