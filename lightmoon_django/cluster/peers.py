"""The other processes: who is alive, and how they are reached.

A process is known by its network id. It may have several incarnations, one per database that hosts its actors; it is
dead when none of them is alive any more. The table is read when this process has registered, and then while another
process is known. Whoever asks for a look is told of it, also where a database did not answer; then `whole` is False.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lightmoon_django.clock import Cancellable, Clock
from lightmoon_django.identity import Endpoint

logger = logging.getLogger("lightmoon")

PERIOD = 0.5  # seconds between two looks, while another process is known
SUSPICION = 0.02  # seconds until the next look after a connection broke, doubling up to the period
UNKNOWN = 10.0  # seconds after which a process that no database knows is given up


class Survey(NamedTuple):
    """All living nodes, by incarnation."""

    alive: Mapping[int, Endpoint]
    whole: bool  # each database answered; of one that didn't, what it said last is among them


Query = Callable[[], Survey]


class Peers:
    """Belongs to the node's loop; the query runs in a thread."""

    def __init__(
        self,
        me: int,
        clock: Clock,
        query: Query,
        run: Callable[[Query], asyncio.Future[Survey]],
        on_dead: Callable[[int, bool], None],
    ) -> None:
        """`query` buries the dead and gives all living nodes. `run` runs it in a thread.

        `on_dead(network, known)` hears of who is dead, and of a stranger that wasn't known so far: it may be yet.
        """
        self._me = me
        self._clock = clock
        self._query = query
        self._run = run
        self._on_dead = on_dead
        self._alive: Mapping[int, Endpoint] = {}  # by incarnation
        self._others: dict[int, Endpoint] = {}  # by network id
        self._unknown: dict[int, float] = {}  # looked for in vain, since when
        self._waiting: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: Cancellable | None = None
        self._pause = PERIOD
        self._stopped = False
        self.looked = False  # somebody has, at least in vain
        self.whole = True  # the last look left nothing out
        self.on_look: Callable[[], None] = lambda: None  # called after each look that found others

    def network_of(self, incarnation: int) -> int | None:
        """The process that has it; None when it isn't known to be alive. 0 when it has no links."""
        found = self._alive.get(incarnation)
        return found.network if found is not None else None

    def endpoint(self, network: int) -> Endpoint | None:
        """How a process is reached; None: not known yet, and being looked for."""
        found = self._others.get(network)
        if found is None:
            self._unknown.setdefault(network, self._clock.monotonic())
            self.refresh()
        return found

    def living(self) -> Mapping[int, Endpoint]:
        """All other processes that have links, as of the last look."""
        return self._others

    def refresh(self, then: Callable[[], None] | None = None) -> None:
        """Look now; `then` is called after a look that began after this."""
        if self._stopped:
            return
        if then is not None:
            self._waiting.append(then)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look(), name="lightmoon-peers")

    def suspect(self) -> None:
        """A connection broke: its process may have died, and will be provably dead in a moment."""
        self._pause = SUSPICION
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.refresh()

    def stop(self) -> None:
        """Look no more. What waits for a look hears of it now."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._tell(self._waiting)

    async def _look(self) -> None:
        again = True
        while again:
            waiting, self._waiting = self._waiting, []
            try:
                alive, self.whole = await self._run(self._query)
            except Exception:
                self.whole = False
                logger.warning("The table of nodes can't be read now.", exc_info=True, extra={"action": "peers_failed"})
            else:
                self._learn(alive)
            self.looked = True
            self._tell([*waiting, self.on_look] if self._others else waiting)
            again = bool(self._waiting)
        self._task = None
        self._plan()

    @staticmethod
    def _tell(waiting: list[Callable[[], None]]) -> None:
        for then in waiting:
            try:
                then()
            except Exception:  # a defect of ours; the others must hear of the look
                logger.exception("A look at the nodes could not be taken in.", extra={"action": "peers_defect"})

    def _learn(self, alive: Mapping[int, Endpoint]) -> None:
        others = {one.network: one for one in alive.values() if one.network not in (0, self._me)}
        gone = [network for network in self._others if network not in others]
        self._alive, self._others = alive, others
        now = self._clock.monotonic()
        self._unknown = {
            one: since if self.whole else now  # a database that doesn't answer may know it
            for one, since in self._unknown.items()
            if one not in others
        }
        lost = [one for one, since in self._unknown.items() if now - since > UNKNOWN]
        for one in lost:
            del self._unknown[one]
        self._tell([functools.partial(self._on_dead, one, True) for one in gone])
        self._tell([functools.partial(self._on_dead, one, False) for one in lost])

    def _plan(self) -> None:
        if self._stopped or self._timer is not None or not (self._others or self._unknown):
            return
        self._timer = self._clock.call_at(self._clock.monotonic() + self._pause, self._ring)
        self._pause = min(PERIOD, 2 * self._pause)

    def _ring(self) -> None:
        self._timer = None
        self.refresh()
