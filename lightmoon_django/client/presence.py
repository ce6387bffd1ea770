"""Who follows an actor, put together from what the server tells: a snapshot when it is joined, then what changes.

A user who has several connections comes with the first and goes with the last one. After a break those who were there
before and are not listed yet may be on their way back: they stay for the server's grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

Users = dict[str, dict[str, Any]]  # by key: {"info": …, "connections": …}


class Presence:
    def __init__(self, loop: asyncio.AbstractEventLoop, told: Callable[[dict[str, Any]], object]) -> None:
        """`told` hears of each change: `joins` and `leaves` by user, and everybody as in `current`."""
        self.current: dict[str, Any] | None = None  # users (None: a crowd) and count; replaced, never changed
        self._loop = loop
        self._told = told
        self._run: str | None = None
        self._rev = 0
        self._listed: Users | None = None  # without those who may be on their way back
        self._timer: asyncio.TimerHandle | None = None

    def snapshot(self, found: Mapping[str, Any]) -> None:
        """The answer to a subscription brought it."""
        before = self.current["users"] if self.current is not None else None
        self._run, self._rev, self._listed = found["run"], found["rev"], found["users"]
        self._stop_timer()
        if before and self._listed is not None:
            self._timer = self._loop.call_later(found["grace"], self._settle)
            self._show({**before, **self._listed}, found["count"])
        else:
            self._show(self._listed, found["count"])

    def take(self, found: Mapping[str, Any]) -> bool:
        """What has changed. False: something before it is missing."""
        if found["run"] == self._run and found["rev"] <= self._rev:
            return True  # seen
        if found["run"] != self._run or found["rev"] != self._rev + 1 or self.current is None:
            return False
        self._rev += 1
        if "users" in found or self._listed is None:
            self._listed = found.get("users")
            self._show(self._listed, found["count"])
            return True
        waiting = _without(self.current["users"], self._listed)
        self._listed = _changed(self._listed, found["joins"], found["leaves"])
        self._show({**waiting, **self._listed}, found["count"])
        return True

    def disconnected(self) -> None:
        """The connection is gone: who may be on their way back is waited for when there is another."""
        self._stop_timer()

    def forget(self) -> None:
        """Nobody listens any more, or the server said no."""
        self._stop_timer()
        self.current = self._run = self._listed = None

    def _settle(self) -> None:
        """Who has not come back by now has left."""
        if self.current is not None:
            self._show(self._listed, self.current["count"])

    def _show(self, users: Users | None, count: Mapping[str, int]) -> None:
        before = (self.current["users"] if self.current is not None else None) or {}
        self.current = {"users": users, "count": count}
        joins = _without(users, before) if users is not None else {}
        leaves = _without(before, users) if users is not None else {}
        self._told({"joins": joins, "leaves": leaves, **self.current})

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _changed(listed: Users, joins: Users, leaves: Mapping[str, Collection[str]]) -> Users:
    found = dict(listed)
    for user, names in leaves.items():
        if user in found:
            found[user] = {**found[user], "connections": _without(found[user]["connections"], names)}
    for user, one in joins.items():
        connections = found[user]["connections"] if user in found else {}
        found[user] = {"info": one["info"], "connections": {**connections, **one["connections"]}}
    return {user: one for user, one in found.items() if one["connections"]}


def _without(found: Mapping[str, Any] | None, names: Collection[str]) -> dict[str, Any]:
    return {name: one for name, one in (found or {}).items() if name not in names}
