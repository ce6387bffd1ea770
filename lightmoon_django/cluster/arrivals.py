"""Frames of other nodes in their order, each with its user: a link waits while one is loaded."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from lightmoon_django.actor import registry
from lightmoon_django.cluster.users import Users
from lightmoon_django.messages import Follow, Frame, Remote, Unfollow

logger = logging.getLogger("lightmoon")


class Arrivals:
    """On the node's loop."""

    def __init__(
        self, users: Users, handle: Callable[[int, Frame, Any], None], refuse: Callable[[int, Frame], None]
    ) -> None:
        """`handle(sender, frame, user)`; `refuse(sender, frame)` gets those whose user can't be loaded."""
        self._users = users
        self._handle = handle
        self._refuse = refuse
        self._held: dict[int, deque[Frame]] = {}  # frames of links that wait for a user
        self._loading: set[asyncio.Task[None]] = set()

    def take(self, sender: int, frame: Frame) -> None:
        """Handle a frame, after those of the same sender that wait."""
        held = self._held.get(sender)
        if held is not None:
            held.append(frame)
            return
        key = _user_of(frame)
        if self._users.has(key) and not _depends_on_user(frame):
            self._handle(sender, frame, self._users.get(key))
            return
        assert key is not None
        self._held[sender] = deque([frame])
        task = asyncio.get_running_loop().create_task(self._load(sender, key))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    def died(self, sender: int) -> None:
        """What waits of that node counts no more."""
        self._held.pop(sender, None)

    def stop(self) -> None:
        """Load nobody any more."""
        for task in self._loading:
            task.cancel()

    async def _load(self, sender: int, key: str) -> None:
        try:
            await self._users.fetch(key)
        except Exception:
            logger.exception("The user of another node's call can't be loaded.", extra={"action": "user_failed"})
            take = self._refuse
        else:
            take = self._take_loaded
        held = self._held.pop(sender, None)
        if held is None:  # it has died meanwhile
            return
        _safely(take, sender, held.popleft())
        for frame in held:
            _safely(self.take, sender, frame)

    def _take_loaded(self, sender: int, frame: Frame) -> None:
        self._handle(sender, frame, self._users.get(_user_of(frame)))


def _safely(take: Callable[[int, Frame], None], sender: int, frame: Frame) -> None:
    try:
        take(sender, frame)
    except Exception:
        logger.exception("Handling a frame failed.", extra={"action": "frame_failed", "incarnation": sender})


def _depends_on_user(frame: Frame) -> bool:
    """Whether a copy of the user that is a few seconds old won't do: what is shown depends on it."""
    schema = registry.by_name(frame.call.actor) if isinstance(frame, Follow) else None
    return schema is not None and schema.view_for is not None and bool(_user_of(frame))


def _user_of(frame: Frame) -> str | None:
    if isinstance(frame, Follow):
        return frame.call.user
    return frame.user if isinstance(frame, (Remote, Unfollow)) else None
