"""What clients may do changes while they are here. One sweep of the node judges them all again.

It runs every `PERMISSION_TTL` while there is a user or a subscription at all, and at once for those who are known to be
concerned. It looks at the users of all sessions together, so that a change made by another process counts too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lightmoon_django.gateway import credentials
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
    """Who listens, and when everybody is judged next."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._listening: dict[Session, None] = {}
        self._timer: Cancellable | None = None
        self._task: asyncio.Task[None] | None = None
        self._due: dict[Session, bool] = {}  # to be judged by a pass that is about to begin, and whether afresh

    def watch(self, session: Session) -> None:
        """A session follows a stream."""
        self._listening[session] = None
        self.wake()

    def unwatch(self, session: Session) -> None:
        """A session follows none any more."""
        self._listening.pop(session, None)
        self.rest()

    def rest(self) -> None:
        """Perhaps there is nobody any more."""
        if self._timer is not None and not self._listening and not self._hub.by_user:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        """There is somebody to judge."""
        if self._timer is None:
            when = self._hub.monotonic() + self._hub.settings.PERMISSION_TTL
            self._timer = self._hub.clock.call_at(when, self._tick)

    def examine(self, sessions: Iterable[Session], *, afresh: bool = False) -> None:
        """Load these sessions' users again and judge their subscriptions, soon.

        `afresh`: something has changed, so that nothing counts which was judged before.
        """
        for session in sessions:
            if afresh:
                session.forget_judgements()
            self._due[session] = afresh or self._due.get(session, False)
        if self._due and self._task is None:
            self._task = self._hub.loop.create_task(self._run())

    def examine_all(self, *, afresh: bool = False) -> None:
        """Judge everybody who may be sent something; `afresh` forgets also what was judged of those who only call."""
        if afresh:
            for session in self._hub.sessions.values():
                session.forget_judgements()
        users = (session for found in self._hub.by_user.values() for session in found)
        self.examine([*self._listening, *users], afresh=afresh)

    def _tick(self) -> None:
        self._timer = None
        if self._listening or self._hub.by_user:
            self.wake()
            self.examine_all()

    async def _run(self) -> None:
        sessions: dict[Session, bool] = {}
        try:
            while self._due:
                sessions, self._due = self._due, {}
                await self._look(sessions)
                for session, afresh in sessions.items():
                    if afresh:
                        session.look_anew()
                await self._judge(sessions)
        except Exception as error:  # the database is away, say; the next pass tries again
            internal(error)
            self._due |= {session: True for session, afresh in sessions.items() if afresh}
        finally:
            self._task = None

    async def _look(self, sessions: dict[Session, bool]) -> None:
        """Whether they are still who they were."""
        claims = []
        for session, afresh in sessions.items():
            if credentials.expired(session):
                session.sign_out("token")
            elif session.authenticated:
                claims.append((session, credentials.claim_of(session, afresh=afresh)))
        if not claims:
            return
        verdicts = await in_thread(credentials.judge, [claim for _, claim in claims])
        for number, ((session, claim), verdict) in enumerate(zip(claims, verdicts, strict=True), 1):
            credentials.apply(session, claim, verdict)
            if number % _PAUSE == 0:
                await asyncio.sleep(0)

    async def _judge(self, sessions: Iterable[Session]) -> None:
        for number, session in enumerate(sessions, 1):
            for call in session.streams():
                await self._judge_one(session, call)
            if number % _PAUSE == 0:
                await asyncio.sleep(0)

    async def _judge_one(self, session: Session, call: WireSubscription) -> None:
        route = self._hub.stream(call.schema.name)
        refusal = route.policy.known(session, call.key, self._hub.monotonic())
        if refusal is None:
            try:
                refusal = await route.policy.judge(session, call.key)
            except Exception as error:  # a permission class that can't say is not a grant
                refusal = internal(error).message
        if refusal != GRANTED:
            session.withdraw(call.address, "forbidden")
        elif call.schema.guarded:
            call.hidden = await route.guards.judge(session, call.key)
