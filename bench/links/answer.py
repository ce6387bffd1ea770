"""`python -m bench.links.answer WAY DIRECTORY`: answers until its standard input ends."""

from __future__ import annotations

import asyncio
import pathlib
import sys

import uvloop

from bench.links.ways import WAYS


async def main(way: str, where: str) -> None:
    await WAYS[way][1](pathlib.Path(where))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
