"""`python -m bench.hosting`: a process that hosts counters and does what lines of JSON on its standard input say.

Each line names one of the orders below with its arguments, and is answered by a line. SIGTERM stops it gracefully.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import Any

import uvloop

AT_ONCE = 500  # calls
PAUSE = 0.01  # seconds between calls that fail


class Orders:
    """What the process can be told to do."""

    async def hold(self, first: int, last: int) -> None:
        """Have these actors in memory."""
        for start in range(first, last + 1, AT_ONCE):
            await asyncio.gather(*(_counter(key).echo("") for key in range(start, min(last, start + AT_ONCE - 1) + 1)))

    async def spin(self, keys: list[int], clients: int, seconds: float, microseconds: int) -> float:
        """Calls per second that use the processor for so long each, over these actors, wherever they are."""
        end, done = time.perf_counter() + seconds, 0

        async def client(number: int) -> None:
            nonlocal done
            key = keys[number % len(keys)]
            while time.perf_counter() < end:
                await _counter(key).spin(microseconds)
                done += 1

        await asyncio.gather(*map(client, range(clients)))
        return done / seconds

    async def answered(self, keys: list[int], since: float) -> float:
        """Seconds after a moment of the wall clock until each of them has answered."""
        from lightmoon_django.errors import LightMoonError

        async def first_answer(key: int) -> None:
            while True:
                try:
                    await _counter(key).add.options(timeout=60)(1)
                except LightMoonError:
                    await asyncio.sleep(PAUSE)
                else:
                    return

        await asyncio.gather(*map(first_answer, keys))
        return time.time() - since

    async def use(self, keys: list[int], clients: int, seconds: float) -> dict[str, int]:
        """Call these actors all the time, wherever they are: how often, and which errors came how often."""
        from lightmoon_django.errors import LightMoonError

        found: dict[str, int] = {"calls": 0}
        end = time.perf_counter() + seconds

        async def client(number: int) -> None:
            step = number
            while time.perf_counter() < end:
                step += clients
                try:
                    await _counter(keys[step % len(keys)]).add(1)
                    found["calls"] += 1
                except LightMoonError as error:
                    found[type(error).__name__] = found.get(type(error).__name__, 0) + 1
                    await asyncio.sleep(PAUSE)

        await asyncio.gather(*map(client, range(clients)))
        return found


def _counter(key: int) -> Any:
    from bench.project.models import Counter
    from lightmoon_django import ref

    return ref(Counter, key)


async def main() -> None:
    from lightmoon_django.host import host

    host.on_this_loop()
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    reader = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps("ready"), flush=True)
    obeying = asyncio.create_task(_obey(reader))
    stopping = asyncio.create_task(over.wait())
    await asyncio.wait([obeying, stopping], return_when=asyncio.FIRST_COMPLETED)
    await host.shut_down()
    obeying.cancel()


async def _obey(reader: asyncio.StreamReader) -> None:
    orders = Orders()
    while line := await reader.readline():
        order = json.loads(line)
        print(json.dumps(await getattr(orders, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    import django

    django.setup()
    uvloop.run(main())
