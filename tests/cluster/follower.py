"""A client that follows one actor's stream through whatever server is there, and notices everything that is amiss."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import threading
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

PATIENCE = 2.0  # seconds without a word until a server is asked whether it lives, and then until it is given up
AGAIN = 0.05  # seconds until another server is tried
ACTOR = "cluster.Meter"


class Amiss(Exception):
    """Something that the stream's guarantees exclude."""


class Follower:
    """One stream. `count` is the actor's, as this client was told; `wrong` is what should not have happened."""

    def __init__(self, key: str, ports: Callable[[], list[int]], rng: random.Random) -> None:
        self.key = key
        self.count = 0
        self.wrong: list[str] = []
        self.frames = self.resets = self.snapshots = self.recoveries = self.connections = 0
        self._ports = ports
        self._rng = rng
        self._position: tuple[str, int] | None = None
        self._following = False
        self._numbers = itertools.count(1)
        self._asked = 0

    async def run(self) -> None:
        while True:
            ports = self._ports()
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                if ports:
                    await self._session(self._rng.choice(ports))
            self._following = False
            await asyncio.sleep(AGAIN)

    async def _session(self, port: int) -> None:
        address = f"ws://127.0.0.1:{port}/lightmoon/ws"
        async with connect(address, open_timeout=PATIENCE, close_timeout=0.1, ping_interval=None) as socket:
            self.connections += 1
            await self._subscribe(socket)
            while True:
                try:
                    text = await asyncio.wait_for(socket.recv(), PATIENCE)
                except TimeoutError:
                    await self._ask(socket, "lm.ping", {})
                    text = await asyncio.wait_for(socket.recv(), PATIENCE)
                try:
                    again = self._take(json.loads(text))
                except Amiss as wrong:
                    self.wrong.append(f"{self.key} on {port}: {wrong}")
                    return
                if again:
                    await asyncio.sleep(AGAIN)
                    await self._subscribe(socket)

    async def _subscribe(self, socket: ClientConnection) -> None:
        since = None
        if self._position is not None:
            since = dict(zip(("epoch", "seq"), self._position, strict=True))
        self._asked = await self._ask(socket, "lm.subscribe", {"actor": ACTOR, "key": self.key, "since": since})

    async def _ask(self, socket: ClientConnection, method: str, params: Any) -> int:
        number = next(self._numbers)
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        return number

    def _take(self, frame: dict[str, Any]) -> bool:
        """Whether to subscribe again."""
        if frame.get("id") == self._asked:
            if "error" in frame:
                return True
            self._begin(frame["result"])
        elif frame.get("method") == "lm.reset":
            self.resets += 1
            self._following = False
            return True
        elif "method" in frame and frame["method"] != "lm.closing":
            if not self._following:
                raise Amiss(f"a frame of a stream that had ended: {frame}")
            self._follow(frame["params"])
        return False

    def _begin(self, answer: dict[str, Any]) -> None:
        self._following = True
        before = self._position
        if answer["recovered"]:
            self.recoveries += 1
            if before is None or answer["epoch"] != before[0]:
                raise Amiss(f"recovered from {before} to {answer}")
            for params in answer["events"]:
                self._follow(params)
            if self._position != (answer["epoch"], answer["seq"]):
                raise Amiss(f"the missed frames lead to {self._position}: {answer}")
            return
        self.snapshots += 1
        if before is not None and answer["epoch"] < before[0]:
            raise Amiss(f"an epoch before {before}: {answer}")
        if answer["state"]["count"] < self.count:
            raise Amiss(f"a state from before {self.count}: {answer}")
        self._position = answer["epoch"], answer["seq"]
        self.count = answer["state"]["count"]

    def _follow(self, params: dict[str, Any]) -> None:
        assert self._position is not None
        epoch, seq = self._position
        if (params["epoch"], params["seq"]) != (epoch, seq + 1):
            raise Amiss(f"after {self._position} came {params}")
        self.frames += 1
        self._position = epoch, seq + 1
        if "set" in params:  # a turn's state comes before its event
            if params["set"] != {"count": self.count + 1}:
                raise Amiss(f"after {self.count} came {params}")
        else:
            if params["data"] != {"n": 1, "count": self.count + 1}:
                raise Amiss(f"after {self.count} came {params}")
            self.count += 1


class Followers:
    """Many of them, in a thread of their own."""

    def __init__(self, keys: list[str], ports: Callable[[], list[int]], seed: int) -> None:
        self.all = [Follower(key, ports, random.Random(seed + number)) for number, key in enumerate(keys)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._running = [asyncio.run_coroutine_threadsafe(one.run(), self._loop) for one in self.all]

    def stop(self) -> None:
        """Again: does nothing."""
        if self._thread.is_alive():
            for one in self._running:
                one.cancel()
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        await self._loop.shutdown_default_executor()
