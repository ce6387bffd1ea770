"""`python -m bench.ticks ACTORS SECONDS`: how late the ticks of `@every` are, and those of a bare `loop.call_at`.

Prints a JSON object of two lists: seconds that each tick ran after its moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

PERIOD = 1 / 60  # seconds
SPREAD = 0.618  # of a period from one actor to the next, so that they don't all tick at once


class Bare:
    """What one would write without actors."""

    def __init__(self, late: list[float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._late = late
        self._due = self._loop.time()
        self._arm()

    def _arm(self) -> None:
        self._due += PERIOD
        self._handle = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._late.append(self._loop.time() - self._due)
        self._arm()

    def stop(self) -> None:
        self._handle.cancel()


async def bare(count: int, seconds: float) -> list[float]:
    late: list[float] = []
    tickers = []
    for n in range(count):
        tickers.append(Bare(late))
        await asyncio.sleep(PERIOD * SPREAD if n % 20 == 19 else 0)
    late.clear()
    await asyncio.sleep(seconds)
    for ticker in tickers:
        ticker.stop()
    return late


async def actors(count: int, seconds: float) -> list[float]:
    from bench.project.models import Metronome
    from lightmoon_django import ref
    from lightmoon_django.host import host

    host.on_this_loop()
    for n in range(count):
        await ref(Metronome, str(n)).start()
        await asyncio.sleep(PERIOD * SPREAD if n % 20 == 19 else 0)
    Metronome.late.clear()
    await asyncio.sleep(seconds)
    found = list(Metronome.late)
    await host.shut_down()
    return found


async def main(count: int, seconds: float) -> None:
    found = {"bare": await bare(count, seconds), "actors": await actors(count, seconds)}
    print(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.project.settings")
    import django

    django.setup()
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
