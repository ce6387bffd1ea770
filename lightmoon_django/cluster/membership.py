"""This process as a node: an incarnation with a lease, kept alive by a heartbeat of its own.

The lease runs from when the last successful heartbeat was *sent*, on a clock that goes on while the machine sleeps: so
it ends here no later than in the database, however long the answer took. The heartbeat has a thread and a connection
of its own, because neither a busy event loop nor a slow store may cost the node its actors.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable

from django.db import connections

from lightmoon_django import identity
from lightmoon_django.cluster import forks
from lightmoon_django.conf import Settings
from lightmoon_django.identity import Endpoint
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.ownconnection import own_connection
from lightmoon_django.persistence.silence import at_most

logger = logging.getLogger("lightmoon")

BEATS_PER_LEASE = 3  # two may fail before the lease ends

Deputy = Callable[[Callable[[], bool]], bool | None]


boot_time: Callable[[], float] = time.monotonic
"""Seconds since boot, those asleep included where the system tells."""
if hasattr(time, "CLOCK_BOOTTIME"):
    boot_time = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class Membership:
    """This process's lease in one database. `start` and `stop` may be called from any thread, once each."""

    def __init__(
        self,
        alias: str,
        settings: Settings,
        on_lost: Callable[[], None],
        *,
        endpoint: Callable[[], Endpoint | None] = lambda: None,
        on_beat: Callable[[], None] = lambda: None,
        on_visible: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = boot_time,
        deputy: Deputy = lambda beat: None,
        seeks_solitude: bool = False,
    ) -> None:
        """`on_lost` is called in the heartbeat's thread when the lease has ended without this node's doing.

        When it returns, every activation of the old incarnation must be unable to answer: a new one is taken then.
        `endpoint` tells how other processes reach this one; it is asked in that thread and the one that calls `start`.
        `deputy` may run a write on a connection where it is no outside write, and tell its result; None: not now.
        `on_beat` is called in the heartbeat's thread after each beat, whether or not it reached the database.
        `on_visible` is called in such a thread each time that others can find this process under another name.
        With `seeks_solitude` the node is `alone` where it is the only one as it registers.
        """
        self.alone = False  # whether it has all actors in memory only, without a claim on each; ends with `share`
        self.alias = alias
        self._lease = settings.LEASE_SECONDS
        self._on_lost = on_lost
        self._clock = clock
        self._endpoint = endpoint
        self._deputy = deputy
        self._on_beat = on_beat
        self._on_visible = on_visible
        self._seeks_solitude = seeks_solitude
        self._announced: Endpoint | None = None
        self._announcing: Endpoint | None = None
        self._nodes = Nodes(alias)
        self._incarnation = 0
        self._valid_until = float("-inf")
        self._forks = -1
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def incarnation(self) -> int:
        """The id under which this node owns rows now. 0 before `start`, and in a forked child."""
        return self._incarnation if self._forks == forks.count else 0

    def valid(self) -> bool:
        """Whether no other node can have taken this one's actors yet. Cheap; ask before an answer leaves."""
        return self._clock() < self._valid_until and self._forks == forks.count

    def start(self) -> None:
        """Register a new incarnation, and keep it alive from now on. Raises what the database raises."""
        self._forks = forks.count
        own_connection(self.alias)
        try:
            self._register()
        finally:
            connections[self.alias].close_if_unusable_or_obsolete()
        self._thread = threading.Thread(target=self._run, name=f"lightmoon-lease-{self.alias}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the lease, so that other nodes may take the actors at once. Does nothing in a forked child."""
        if self._forks != forks.count or self._stopping.is_set():
            return
        self._stopping.set()
        self._valid_until = float("-inf")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=self._lease)

    def beat(self) -> None:
        """One heartbeat; a new incarnation if it comes too late. Raises what the database raises."""
        sent = self._clock()
        if self._extend():
            self._valid_until = sent + self._lease
            self._announce()
            return
        self._valid_until = float("-inf")
        logger.warning(
            "Incarnation %s lost its lease; its activations are discarded.",
            self._incarnation,
            extra={"action": "lease_lost", "incarnation": self._incarnation},
        )
        self._on_lost()
        self._register()

    def _extend(self) -> bool:
        return self._run_by_deputy(lambda: self._nodes.heartbeat(self._incarnation, self._lease))

    def _run_by_deputy(self, write: Callable[[], bool]) -> bool:
        done = self._deputy(write)
        if done is None:
            with at_most(connections[self.alias], self._lease):  # a later answer to a heartbeat would say no
                done = write()
        return done

    def _register(self) -> None:
        incarnation, sent = identity.new_incarnation(), self._clock()
        self._announced = self._endpoint()
        connections[self.alias].ensure_connection()  # without one, there is nothing to take back
        try:
            with at_most(connections[self.alias], self._lease):
                self._nodes.register(incarnation, self._lease, self._announced, alone=self._seeks_solitude)
                self.alone = self._seeks_solitude and self._nodes.is_alone(incarnation)
        except Exception:
            self._reset_connection()
            self._leave(incarnation)  # as alone it would hold back the claims of all others for its lease
            raise
        self._incarnation = incarnation
        self._valid_until = sent + self._lease
        self._on_visible()

    def _announce(self) -> None:
        endpoint, incarnation = self._endpoint(), self._incarnation
        if endpoint is None or endpoint == self._announced:
            return

        self._announcing = endpoint

        def announce() -> bool:
            if self._announcing is endpoint:  # else the deputy comes to it when another was announced
                self._nodes.announce(incarnation, endpoint)
            return True

        self._run_by_deputy(announce)
        renamed = self._announced is None or self._announced.network != endpoint.network
        self._announced = endpoint
        if renamed:
            self._on_visible()

    def _run(self) -> None:
        failing = False
        own_connection(self.alias)
        while not self._stopping.wait(self._lease / BEATS_PER_LEASE):
            try:
                self.beat()
                failing = False
            except Exception:
                if not failing:
                    logger.exception("A heartbeat failed; trying again.", extra={"action": "heartbeat_failed"})
                failing = True
                self._reset_connection()
            try:
                self._on_beat()
            except Exception:  # the lease must not end with it
                logger.exception("What follows a heartbeat failed.", extra={"action": "after_beat_failed"})
        self._leave(self._incarnation)

    def _leave(self, incarnation: int) -> None:
        """Sign an incarnation off, if the database can be told. Leaves no connection open."""
        try:
            with at_most(connections[self.alias], self._lease):
                self._nodes.leave(incarnation)
        except Exception:
            logger.info(
                "The node could not be signed off; its lease will end by itself.", extra={"action": "leave_failed"}
            )
        self._reset_connection()

    def _reset_connection(self) -> None:
        try:
            connections[self.alias].close()
        except Exception:
            logger.debug("Closing a broken connection failed.", exc_info=True)
