"""`python -m bench.load`: a job as one JSON line on standard input, `started` and the result as lines on output."""

from __future__ import annotations

import dataclasses
import gc
import json
import resource
import sys

from bench.load import calls, fanout
from bench.load.connections import Disconnected, Pool, ask_all
from bench.load.jobs import Calls, Fanout, Idle, from_json


def main() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # nothing here makes cycles, and a pause would look like the server's
    job = from_json(json.loads(sys.stdin.readline()))
    try:
        match job:
            case Calls():
                result = calls.run(job, started)
            case Fanout():
                result = fanout.run(job, started)
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
    ask_all(pool, pool.open(job.target.path, job.connections), job.greeting.encode(), job.answer.encode(), 120.0)
    started()
    sys.stdin.readline()
    pool.close()


def started() -> None:
    say({"started": True})


def say(values: dict[str, object]) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    sys.exit(main())
