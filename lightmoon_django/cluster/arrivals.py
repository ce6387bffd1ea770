"""Frames of other nodes, each with its user: what goes to one actor waits, in its order, while one is loaded.

A node's frames to one actor keep their order, and so does the cancellation of a call with its call. Everything else
goes on meanwhile: a database that is silent holds up who waits for it and nobody else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from lightmoon_django.actor import registry
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.users import Users
from lightmoon_django.errors import DeadlineExceeded, LightMoonError, Overloaded, Unavailable
from lightmoon_django.messages import Cancel, Described, Follow, Frame, Remote, Unfollow

logger = logging.getLogger("lightmoon")

MOST_HELD = 16 * 1024 * 1024  # bytes of calls that may wait for their users, those of all nodes together
WEIGHT = 500  # bytes that a frame is counted with beside its payload


class Way(NamedTuple):
    """From one node to one actor: frames on it keep their order."""

    sender: int
    actor: str
    key: str


class Arrivals:
    """On the node's loop."""

    def __init__(
        self,
        users: Users,
        clock: Clock,
        handle: Callable[[int, Frame, Any], None],
        refuse: Callable[[int, int, LightMoonError], None],
    ) -> None:
        """`handle(sender, frame, user)`; `refuse(sender, id, error)` gets the calls that come to nothing."""
        self._users = users
        self._clock = clock
        self._handle = handle
        self._refuse = refuse
        self.held: dict[Way, deque[tuple[Frame, float]]] = {}  # each with the moment when it came
        self._calls: dict[tuple[int, int], Way] = {}  # those among them, by sender and id
        self._weight = 0
        self._loading: set[asyncio.Task[None]] = set()

    def take(self, sender: int, frame: Frame) -> None:
        """Handle a frame, behind those of its way that wait. A call that finds no room to wait is `Overloaded`."""
        way = self._way_of(sender, frame)
        if way is not None and way in self.held:
            self._hold(way, frame)
        elif way is None or (key := self._missing(frame)) is None:
            self._handle(sender, frame, self._users.get(_user_of(frame)))
        elif self._hold(way, frame):
            self._load(way, key)

    def died(self, sender: int) -> None:
        """What waits of that node counts no more."""
        for way in [way for way in self.held if way.sender == sender]:
            held = self.held.pop(way)
            while held:
                self._let_go(way, held)

    def stop(self) -> None:
        """Load nobody any more."""
        for task in self._loading:
            task.cancel()

    def _missing(self, frame: Frame) -> str | None:
        """The user that must be loaded before the frame is handled."""
        key = _user_of(frame)
        if key is None or (self._users.has(key) and not _depends_on_user(frame)):
            return None
        return key

    def _way_of(self, sender: int, frame: Frame) -> Way | None:
        """None: it waits for nothing."""
        if isinstance(frame, Cancel):
            return self._calls.get((sender, frame.id))
        if isinstance(frame, Follow):
            frame = frame.call
        if isinstance(frame, (Remote, Unfollow, Described)):
            return Way(sender, frame.actor, frame.key)
        return None

    def _hold(self, way: Way, frame: Frame) -> bool:
        """Let a frame wait. False: there is no room, and its caller has been told."""
        call, weight = _call_of(frame), _weight(frame)
        if call is not None:
            if self._weight and self._weight + weight > MOST_HELD:
                error = Overloaded("Too many calls wait for their users to be loaded.", retry_after=1.0)
                self._refuse(way.sender, call.id, error)
                return False
            self._calls[way.sender, call.id] = way
        elif isinstance(frame, Described) and self._weight > MOST_HELD:
            self._supersede(way, frame.subscriber)  # it waits for another frame, having no user itself
        self._weight += weight
        self.held.setdefault(way, deque()).append((frame, self._clock.monotonic()))
        return True

    def _supersede(self, way: Way, subscriber: str) -> None:
        """Forget what a subscriber said of itself before: so there is never more than one of each."""
        held = self.held[way]
        for one in held:
            if isinstance(one[0], Described) and one[0].subscriber == subscriber:
                held.remove(one)
                self._weight -= _weight(one[0])
                return

    def _let_go(self, way: Way, held: deque[tuple[Frame, float]]) -> tuple[Frame, float]:
        """Take the first frame that waits."""
        frame, came = held.popleft()
        call = _call_of(frame)
        if call is not None:
            self._calls.pop((way.sender, call.id), None)
        self._weight -= _weight(frame)
        return frame, came

    def _load(self, way: Way, key: str) -> None:
        held = self.held[way]
        fresh = _depends_on_user(held[0][0])
        task = asyncio.get_running_loop().create_task(self._loaded(way, held, key, fresh))
        self._loading.add(task)
        task.add_done_callback(self._loading.discard)

    async def _loaded(self, way: Way, held: deque[tuple[Frame, float]], key: str, fresh: bool) -> None:
        error = None
        try:
            await self._users.fetch(key, fresh=fresh)
        except Exception:
            logger.exception("The user of another node's call can't be loaded.", extra={"action": "user_failed"})
            error = Unavailable("The call's user can't be loaded.", retry_after=1.0)
        if held:  # else the node has died meanwhile
            self._release(way, *self._let_go(way, held), error)
        while held:
            missing = self._missing(held[0][0])
            if missing is not None:
                self._load(way, missing)
                return
            self._release(way, *self._let_go(way, held))
        if self.held.get(way) is held:
            del self.held[way]

    def _release(self, way: Way, frame: Frame, came: float, error: LightMoonError | None = None) -> None:
        """Handle a frame that has waited, with what is left of its time; or refuse it."""
        call, waited = _call_of(frame), self._clock.monotonic() - came
        if call is not None and error is None and waited >= call.seconds:
            error = DeadlineExceeded("The deadline passed while the call's user was loaded. It did not run.")
        try:
            if error is None:
                self._handle(way.sender, _later(frame, waited), self._users.get(_user_of(frame)))
            elif call is not None:
                self._refuse(way.sender, call.id, error)
            else:
                self._handle(way.sender, frame, None)
        except Exception:
            logger.exception("Handling a frame failed.", extra={"action": "frame_failed", "incarnation": way.sender})


def _later(frame: Frame, waited: float) -> Frame:
    """The same with what is left of its time."""
    if isinstance(frame, Follow):
        return msgspec.structs.replace(frame, call=_later(frame.call, waited))
    return msgspec.structs.replace(frame, seconds=frame.seconds - waited) if isinstance(frame, Remote) else frame


def _call_of(frame: Frame) -> Remote | None:
    if isinstance(frame, Follow):
        return frame.call
    return frame if isinstance(frame, Remote) else None


def _weight(frame: Frame) -> int:
    call = _call_of(frame)
    return WEIGHT + (len(call.payload) if call is not None else 0)


def _depends_on_user(frame: Frame) -> bool:
    """Whether a copy of the user that is a few seconds old won't do: what is shown depends on it."""
    schema = registry.by_name(frame.call.actor) if isinstance(frame, Follow) else None
    return schema is not None and schema.view_for is not None and bool(_user_of(frame))


def _user_of(frame: Frame) -> str | None:
    if isinstance(frame, Unfollow):
        return frame.user
    call = _call_of(frame)
    return call.user if call is not None else None
