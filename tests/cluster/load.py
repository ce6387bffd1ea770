"""Clients inside a node that count, and a journal of what they were told that survives the node's death.

Each line is an operation's beginning or its end, written before it begins and after it has ended. What has a beginning
only is of unknown outcome.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lightmoon_django import ref
from lightmoon_django.errors import LightMoonError

TIMEOUT = 5.0  # seconds of each call
PAUSE = 0.02  # seconds after an error
WAYS = ("add", "add", "add", "add_slowly", "add_blocking", "get", "get")


class Journal:
    """Appends lines to a file, each in one write. What is written outlives the process."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._stem = Path(path).stem
        self._numbers = itertools.count()

    def name(self, number: int) -> str:
        """An operation's, among those of all journals."""
        return f"{self._stem}/{number}"

    def begin(self, key: str, what: str, id: str = "") -> int:
        number = next(self._numbers)
        self._write({"n": number, "key": key, "what": what, "id": id, "at": time.monotonic()})
        return number

    def end(self, number: int, outcome: str, result: int | None = None, message: str = "") -> None:
        self._write({"n": number, "out": outcome, "result": result, "text": message, "at": time.monotonic()})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


@dataclasses.dataclass(slots=True)
class Told:
    """One operation as its journal tells it. Without an `outcome` its process was killed."""

    who: str
    key: str
    what: str
    id: str
    began: float
    ended: float = 0.0
    outcome: str = ""
    result: int | None = None
    text: str = ""

    @property
    def unknown(self) -> bool:
        return self.outcome in ("", "OutcomeUnknown")

    @property
    def token(self) -> str:
        """By which its actor remembers it."""
        return self.id or self.who


def read_journals(directory: Path) -> Iterator[Told]:
    for path in sorted(directory.glob("*.journal")):
        found: dict[int, Told] = {}
        for line in path.read_text().splitlines():
            one = json.loads(line)
            if "what" in one:
                who = f"{path.stem}/{one['n']}"
                found[one["n"]] = Told(who, one["key"], one["what"], one["id"], one["at"])
            else:
                told = found[one["n"]]
                told.outcome, told.result, told.text, told.ended = one["out"], one["result"], one["text"], one["at"]
        yield from found.values()


class Load:
    """What one node's clients do until they are told to rest, or their node is."""

    def __init__(self, journal: str, seed: int, ending: Callable[[], bool]) -> None:
        self._journal = Journal(journal)
        self._rng = random.Random(seed)
        self._name = f"{seed}-{os.getpid()}"
        self._ending = ending
        self._resting = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, counters: list[str], tills: list[str], clients: int, pause: float) -> None:
        spawn = asyncio.get_running_loop().create_task
        self._tasks += [spawn(self._count(counters, pause)) for _ in range(clients)]
        self._tasks += [spawn(self._pay(key, pause)) for key in tills]

    async def rest(self) -> None:
        self._resting = True
        await asyncio.gather(*self._tasks)

    @property
    def _over(self) -> bool:
        return self._resting or self._ending()

    async def _count(self, keys: list[str], pause: float) -> None:
        while not self._over:
            await self._one(self._rng.choice(keys), self._rng.choice(WAYS))
            await asyncio.sleep(self._rng.uniform(0, 2 * pause))

    async def _pay(self, key: str, pause: float) -> None:
        """Try each payment until it is acknowledged, whatever happens."""
        for number in itertools.count():
            while not self._over and not await self._one(key, "pay", f"{self._name}-{key}-{number}"):
                pass
            if self._over:
                return
            await asyncio.sleep(self._rng.uniform(0, 2 * pause))

    async def _one(self, key: str, what: str, id: str = "") -> bool:
        number = self._journal.begin(key, what, id)
        options: dict[str, Any] = {"timeout": TIMEOUT, **({"call_id": id} if id else {})}
        args = () if what == "get" else (id or self._journal.name(number),)
        try:
            result = await getattr(ref(_meter(), key), what).options(**options)(*args)
        except LightMoonError as error:
            self._journal.end(number, type(error).__name__, None, error.message)
            await asyncio.sleep(PAUSE)
            return False
        self._journal.end(number, "ok", result)
        return True


def outcomes(told: Iterable[Told]) -> dict[str, int]:
    """How many ended how."""
    found: dict[str, int] = {}
    for one in told:
        found[one.outcome or "killed"] = found.get(one.outcome or "killed", 0) + 1
    return dict(sorted(found.items()))


def _meter() -> Any:
    from tests.cluster.models import Meter

    return Meter
