"""Permissions change while somebody listens. One sweep of the node judges all subscriptions again.

It runs every `PERMISSION_TTL` while there is a subscription at all, and at once for users who were changed or logged
out. It loads the users of all listening sessions together, so that a change made by another process counts too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lightmoon_django.gateway import users
from lightmoon_django.gateway.frames import internal
from lightmoon_django.gateway.policy import GRANTED
from lightmoon_django.gateway.threads import in_thread

if TYPE_CHECKING:
    from lightmoon_django.clock import Cancellable
    from lightmoon_django.gateway.calls import WireSubscription
    from lightmoon_django.gateway.hub import Hub
    from lightmoon_django.gateway.session import Session

_PAUSE = 200  # sessions judged before the loop gets a turn


class Sweep:
    """Who listens, and when they are judged next."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._listening: dict[Session, None] = {}
        self._timer: Cancellable | None = None
        self._task: asyncio.Task[None] | None = None
        self._due: set[Session] = set()  # to be judged by a pass that is about to begin

    def watch(self, session: Session) -> None:
        """A session follows a stream."""
        self._listening[session] = None
        if self._timer is None:
            self._set_timer()

    def unwatch(self, session: Session) -> None:
        """A session follows none any more."""
        self._listening.pop(session, None)
        if not self._listening and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def examine(self, sessions: Iterable[Session]) -> None:
        """Load these sessions' users again and judge their subscriptions, soon."""
        self._due.update(sessions)
        if self._due and self._task is None:
            self._task = self._hub.loop.create_task(self._run())

    def examine_all(self) -> None:
        """Judge everybody who listens."""
        self.examine(self._listening)

    def _set_timer(self) -> None:
        when = self._hub.monotonic() + self._hub.settings.PERMISSION_TTL
        self._timer = self._hub.clock.call_at(when, self._tick)

    def _tick(self) -> None:
        self._set_timer()
        self.examine_all()

    async def _run(self) -> None:
        try:
            while self._due:
                sessions, self._due = self._due, set()
                await self._reload(sessions)
                await self._judge(sessions)
        except Exception as error:  # the database is away, say; the next pass tries again
            internal(error)
        finally:
            self._task = None

    async def _reload(self, sessions: set[Session]) -> None:
        known = [session.user for session in sessions if session.authenticated]
        if not known:
            return
        fresh = await in_thread(users.reload, known)
        for session in sessions:
            if session.authenticated:
                session.succeed(fresh)

    async def _judge(self, sessions: set[Session]) -> None:
        for number, session in enumerate(sessions, 1):
            for call in session.streams():
                await self._judge_one(session, call)
            if number % _PAUSE == 0:
                await asyncio.sleep(0)

    async def _judge_one(self, session: Session, call: WireSubscription) -> None:
        route = self._hub.stream(call.schema.name)
        policy = route.policy
        refusal = policy.known(session, call.key, self._hub.monotonic())
        if refusal is None:
            try:
                refusal = await policy.judge(session, call.key)
            except Exception as error:  # a permission class that can't say is not a grant
                refusal = internal(error).message
        if refusal != GRANTED:
            session.withdraw(call.address, "forbidden")
        elif call.schema.guarded:
            call.hidden = await route.guards.judge(session, call.key)
