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
        # By whether afresh: a change that is known waits for nobody who is only looked at because it is time.
        self._tasks: dict[bool, asyncio.Task[None]] = {}
        self._due: dict[bool, dict[Session, None]] = {True: {}, False: {}}  # to be judged by a pass about to begin

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
        due = self._due[afresh]
        for session in sessions:
            if afresh:
                session.forget_judgements()
            due[session] = None
        self._begin(afresh)

    def _begin(self, afresh: bool) -> None:
        if self._due[afresh] and afresh not in self._tasks:
            self._tasks[afresh] = self._hub.loop.create_task(self._run(afresh))

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
            self._begin(True)  # those for whom it failed

    async def _run(self, afresh: bool) -> None:
        sessions: dict[Session, None] = {}
        try:
            while self._due[afresh]:
                sessions, self._due[afresh] = self._due[afresh], {}
                await self._look(sessions, afresh)
                if afresh:
                    for session in sessions:
                        session.look_anew()
                await self._judge(sessions)
        except Exception as error:  # the database is away, say; the next pass tries again
            alive = {one: None for one in sessions if one.id in self._hub.sessions}
            self._due[afresh] = {**alive, **self._due[afresh]}
            internal(error)
        finally:
            del self._tasks[afresh]

    async def _look(self, sessions: Iterable[Session], afresh: bool) -> None:
        """Whether they are still who they were."""
        claims = []
        for session in sessions:
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
        """Those who follow the most streams come last, and keep only each other waiting."""
        for number, session in enumerate(sorted(sessions, key=lambda one: one.followed), 1):
            for call in session.streams():
                await self._judge_one(session, call)
            if number % _PAUSE == 0:
                await asyncio.sleep(0)

    async def _judge_one(self, session: Session, call: WireSubscription) -> None:
        try:
            refusal, hidden = await self._hub.stream(call.schema.name).judge(session, call.key)
        except Exception as error:  # a permission class that can't say is not a grant
            refusal, hidden = internal(error).message, call.hidden
        if refusal != GRANTED:
            session.withdraw(call.address, "forbidden")
        else:
            call.hidden = hidden
