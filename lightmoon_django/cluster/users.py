"""Users of other nodes' calls: they travel by key, and are loaded here before the turn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from lightmoon_django.clock import Clock

KEPT = 1000  # users
FRESH = 5.0  # seconds; a user's rights are judged where the call came in, not by this copy

Run = Callable[[Callable[[], Any]], "asyncio.Future[Any]"]


class Users:
    """A small memory of users by key. On the node's loop; loading is done in a thread."""

    def __init__(self, load: Callable[[str], Any], run: Run, clock: Clock) -> None:
        """`load` blocks, and runs in a thread by `run`."""
        self._load = load
        self._run = run
        self._clock = clock
        self._found: OrderedDict[str, tuple[float, Any]] = OrderedDict()
        self._loading: set[tuple[str, asyncio.Event]] = set()
        self._one_by_one = asyncio.Lock()  # there is one thread for them

    def has(self, key: str | None) -> bool:
        """Whether `get` knows that user."""
        if key is None:
            return True
        found = self._found.get(key)
        return found is not None and self._clock.monotonic() - found[0] < FRESH

    def get(self, key: str | None) -> Any:
        return self._found[key][1] if key is not None else None

    def forget(self, key: str | None) -> None:
        """A user, or without a key anybody, has changed: the next call loads it again."""
        for one, changed in self._loading:
            if key in (None, one):
                changed.set()
        for one in list(self._found) if key is None else [key]:
            found = self._found.get(one)
            if found is not None:
                self._found[one] = (float("-inf"), found[1])

    async def fetch(self, key: str, *, fresh: bool = True) -> None:
        """Load a user, so that `get` knows it. Raises what the database raises.

        Unless it is to be `fresh`, one that was loaded for somebody else meanwhile will do.
        """
        async with self._one_by_one:
            if fresh or not self.has(key):
                await self._fetch(key)

    async def _fetch(self, key: str) -> None:
        changed = asyncio.Event()
        self._loading.add((key, changed))
        try:
            user = await self._run(lambda: self._load(key))
            while changed.is_set():  # it may have been read before the change
                changed.clear()
                user = await self._run(lambda: self._load(key))
        finally:
            self._loading.discard((key, changed))
        self._found[key] = (self._clock.monotonic(), user)
        self._found.move_to_end(key)
        if len(self._found) > KEPT:
            self._found.popitem(last=False)
