"""`python -m bench.links.ask WAY DIRECTORY CLIENTS WARM_UP SECONDS ANSWERING_PID REDIS_PID`: prints what it measured.

A closed loop: each client has one request on its way.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import pathlib
import sys
import time

import uvloop

from bench.links.ways import WAYS, Ask, frame_of
from bench.load.jobs import Target
from bench.load.meters import Meter


async def main(way: str, where: str, clients: str, warm_up: str, seconds: str, answering: str, redis: str) -> None:
    ask = await WAYS[way][0](pathlib.Path(where))
    target = Target(host="", port=0, path="", server_pid=int(answering), database_pid=int(redis))
    meter = Meter(target, int(clients))
    until = time.perf_counter() + float(warm_up) + float(seconds)
    asking = [asyncio.create_task(_client(ask, number, meter, until)) for number in range(int(clients))]
    await asyncio.sleep(float(warm_up))
    meter.start()
    await asyncio.sleep(float(seconds))
    found = meter.stop()
    await asyncio.wait(asking, timeout=5)
    print(json.dumps(dataclasses.asdict(found)), flush=True)


async def _client(ask: Ask, number: int, meter: Meter, until: float) -> None:
    frame = frame_of(number)
    while (began := time.perf_counter()) < until:
        await ask(number, frame)
        meter.latencies.append(time.perf_counter() - began)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
