"""A node in a process of its own, which sends back what it gets.

`python -m tests.cluster.child DIRECTORY ME PEER SOCKET`
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.network import Network
from lightmoon_django.identity import Endpoint
from tests.cluster.world import HOST, SECRET


async def main(directory: str, me: int, peer: int, socket: str) -> None:
    network = Network(
        me,
        secrets=[SECRET],
        carriers=[UnixCarrier(me, host=HOST, directory=Path(directory))],
        lookup={peer: Endpoint(HOST, socket)}.get,
        on_frame=lambda sender, frame: network.send(sender, frame),
    )
    await network.start()
    print("ready", flush=True)  # noqa: T201
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
