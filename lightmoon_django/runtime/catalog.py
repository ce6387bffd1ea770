"""Which actors are in memory: opening, loading, replacing and ending activations."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor.call import Call, Unsubscription
from lightmoon_django.actor.schema import ActorSchema, MessageSchema
from lightmoon_django.errors import (
    ActorNotFound,
    InternalError,
    LightMoonError,
    Overloaded,
    Unavailable,
)
from lightmoon_django.identity import new_epoch
from lightmoon_django.persistence.places import row_of
from lightmoon_django.persistence.store import Failed, Load, Loaded, LoadOutcome, Missing, OwnedElsewhere
from lightmoon_django.runtime import overlap, repeats, timers
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.states import ActivationState
from lightmoon_django.runtime.timers import Tick

if TYPE_CHECKING:
    from lightmoon_django.runtime.node import Node

logger = logging.getLogger("lightmoon")

SCAN_PERIOD = 1.0  # seconds between looks at a part of the catalog for idle activations
DEACTIVATE_TIMEOUT = 10.0  # seconds that on_deactivate may take


class Hook(Call):
    """A lifecycle method on its way through the same path as a message; `then` hears how it ended."""

    __slots__ = ("then",)

    then: Callable[[LightMoonError | None], None]

    def decode(self) -> tuple[Any, ...]:
        return ()

    def encode(self, result: Any) -> bytes:
        return b""

    def resolve(self, payload: bytes) -> None:
        self.then(None)

    def reject(self, error: LightMoonError) -> None:
        self.then(error)


class Catalog:
    """All activations of one node, by address."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._all: dict[tuple[str, str], Activation] = {}
        self.get = self._all.get  # by address, for every call
        self._scan: Iterator[Activation] = iter(())
        self._leavers: Iterator[Activation] = iter(())

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Activation]:
        return iter(list(self._all.values()))

    def open(self, schema: ActorSchema, key: str, *, creates: bool = True) -> Activation:
        """A new activation, loading. With `creates=False` no row is made.

        Raises `InvalidParams` for a key that isn't canonical, `Overloaded` when full.
        """
        key = schema.keys(key)
        if len(self._all) >= self._node.settings.MAX_ACTIVATIONS:
            raise Overloaded("This node holds as many actors as it may.", retry_after=1.0)
        store = self._node.store_of(schema)
        activation = Activation(self._node, schema, key, self._node.columns_of(schema), store)
        activation.creates = creates
        activation.directory = self._node.directory_of(schema)
        self._all[activation.address] = activation
        self._load(activation)
        return activation

    def _load(self, activation: Activation) -> None:
        if activation.directory is None or (activation.store is None and self._node.alone):
            self._node.loop.call_soon(self._loaded, activation, Loaded((), None, time.time_ns() // 1000))
        else:
            schema = activation.schema if activation.creates else activation.schema.existing
            activation.directory.load(
                Load(*row_of(schema, activation.key)),
                lambda outcome: self._loaded(activation, outcome),
                lambda: activation.state is ActivationState.LOADING,
                functools.partial(_ask, activation),
            )

    def _loaded(self, activation: Activation, outcome: LoadOutcome) -> None:
        if activation.state is not ActivationState.LOADING:  # given up meanwhile
            if type(outcome) is Loaded and activation.address not in self._all:
                self.vacate(activation)
            return
        if activation.stale:  # somebody wrote the row while it was being read
            activation.stale = False
            self._load(activation)
        elif type(outcome) is Loaded:
            self._begin(activation, outcome)
        elif type(outcome) is OwnedElsewhere and self._node.elsewhere is not None:
            self._end(activation, "elsewhere")
            waiting, activation.mailbox = activation.mailbox, []
            self._node.elsewhere.send(_leaving(activation, waiting), outcome.incarnation)
        elif type(outcome) is Missing and not activation.creates and self._wanted(activation):
            activation.creates = True
            self._load(activation)
        else:
            self.give_up(activation, _load_error(activation, outcome))

    @staticmethod
    def _wanted(activation: Activation) -> bool:
        """There is no row: whether anybody waits who may make one. Refuses all others."""
        if not activation.schema.create or not any(call.creates for call in activation.mailbox):
            return False
        missing = _load_error(activation, Missing())
        waiting, activation.mailbox = activation.mailbox, []
        for call in waiting:
            if call.creates:
                activation.mailbox.append(call)
            else:
                activation.refuse(call, missing)
        return True

    def _begin(self, activation: Activation, row: Loaded) -> None:
        """The row is ours: build the instance, and run on_activate before the first message."""
        try:
            snapshot = row.snapshot if activation.store is not None else activation.columns.defaults()
            instance = activation.columns.make(snapshot, activation.key)
        except Exception as error:  # of the class's own code
            self.give_up(activation, _load_error(activation, Failed(error)))
            return
        if instance.lightmoon_key != activation.key:  # a collation found a row under another spelling
            self.give_up(activation, ActorNotFound(f"There is no {activation.address}."))
            return
        activation.instance = instance
        activation.head = snapshot
        activation.version = row.version
        activation.epoch = new_epoch(row.claimed_at)
        activation.guard = self._node.guard()
        if activation.repeats is not None:
            activation.repeats.claimed()
        hook = activation.schema.lifecycle.get("on_activate")
        if hook is None:
            self._activated(activation, None)
        else:
            activation.state = ActivationState.STARTING
            timeout = self._node.settings.ACTIVATE_TIMEOUT
            self._run_hook(activation, hook, timeout, lambda error: self._activated(activation, error))

    def _run_hook(
        self,
        activation: Activation,
        message: MessageSchema,
        timeout: float,
        then: Callable[[LightMoonError | None], None],
    ) -> None:
        hook = Hook(message, activation.key, (), b"", activation.monotonic() + timeout)
        hook.then = then
        activation.hook = hook
        self._node.deadlines.watch(activation, hook.deadline)
        activation.schedule()

    def _activated(self, activation: Activation, error: LightMoonError | None) -> None:
        if error is not None:
            self.give_up(activation, error)
            return
        if activation.state is ActivationState.ENDED:
            return
        activation.state = ActivationState.ACTIVE
        timers.start(activation)
        activation.schedule()

    def give_up(self, activation: Activation, error: LightMoonError) -> None:
        """The activation failed: everybody who waits for it gets the error at once, and the next call tries afresh."""
        claimed = activation.state is not ActivationState.LOADING
        self._end(activation, "failed")
        overlap.refuse_reentering(activation, error)
        self._refuse_all(activation, error)
        if claimed:
            self.vacate(activation)

    def overdue(self, activation: Activation, error: LightMoonError) -> None:
        """It could not be loaded in time: as `give_up`, but one that came back for its timers goes on loading."""
        if not activation.revived:
            self.give_up(activation, error)
            return
        activation.opened_at = activation.monotonic()
        self._refuse_all(activation, error)

    @staticmethod
    def _refuse_all(activation: Activation, error: LightMoonError) -> None:
        waiting, activation.mailbox = activation.mailbox, []
        for call in waiting:
            activation.refuse(call, error)

    def vacate(self, activation: Activation) -> bool:
        """Give back the place of an actor that lives in memory only; its calls wait for that. False: it has none."""
        if activation.store is not None or activation.directory is None or self._node.alone:
            return False
        self._node.moves.release(activation.schema, activation.key, [])
        return True

    def replace(self, activation: Activation, calls: list[Call], reason: str, *, ours: bool = True) -> None:
        """End an activation whose memory can't be trusted. `calls`, then its mailbox, go to a fresh one.

        One that is in memory only goes on with its state, if the actor is still this node's.
        """
        if activation.state is ActivationState.ENDED:
            return
        if ours and activation.store is None and activation.state is ActivationState.ACTIVE and activation.fresh():
            self._detach(activation, calls)
            return
        self._end(activation, reason)
        waiting = [*calls, *activation.mailbox]
        activation.mailbox.clear()
        self._hand_over(activation, [call for call in waiting if not isinstance(call, (Unsubscription, Hook, Tick))])
        if activation.timers is not None and not self._node.stopping:
            self._revive(activation)

    def _revive(self, activation: Activation) -> None:
        """An actor with timers comes back by itself, unless its row is being given back: then it does so elsewhere."""
        if activation.address in self._node.moves:
            return
        if activation.guard is None or activation.guard():
            with contextlib.suppress(Overloaded):
                successor = self._all.get(activation.address)
                successor = successor or self.open(activation.schema, activation.key, creates=False)
                successor.revived = True

    @staticmethod
    def _detach(activation: Activation, calls: list[Call]) -> None:
        """An actor that is kept nowhere goes on from its latest fields; an abandoned turn keeps the old instance."""
        activation.instance = copy.copy(activation.instance)
        activation.columns.restore(activation.instance, activation.head)
        activation.stale = False
        activation.mailbox[:0] = calls
        activation.schedule()

    def movable(self, limit: int, wanted: Callable[[ActorSchema], bool]) -> list[Activation]:
        """Those of the next `limit` whose class is wanted, and of which nothing is under way.

        Not those that somebody follows, as their streams would end.
        """
        found = []
        for _ in range(min(limit, len(self._all))):
            activation = next(self._leavers, None)
            if activation is None:
                self._leavers = iter(list(self._all.values()))
            elif activation.settled and not activation.subscribed and wanted(activation.schema):
                active = activation.state is ActivationState.ACTIVE and activation.hook is None
                if active:
                    found.append(activation)
        return found

    def _hand_over(self, activation: Activation, waiting: list[Call]) -> None:
        if activation.address in self._node.moves:
            self._node.moves.takes(activation.schema, activation.key, _leaving(activation, waiting))
            return
        if self._node.handover is not None:
            self._node.handover.take(activation.schema, activation.key, _leaving(activation, waiting))
            return
        if not waiting:
            return
        successor = self._all.get(activation.address)
        try:
            creates = any(call.creates for call in waiting)
            successor = successor or self.open(activation.schema, activation.key, creates=creates)
        except LightMoonError as error:
            for call in waiting:
                activation.refuse(call, error)
            return
        successor.adopt(waiting)

    def deactivate(self, activation: Activation) -> None:
        """Let an activation leave memory: its turn ends, on_deactivate runs, queued calls go to the next activation."""
        if activation.state is not ActivationState.ACTIVE:
            return
        activation.state = ActivationState.STOPPING
        if activation.settled:
            self.stopped(activation)

    def stopped(self, activation: Activation) -> None:
        """A stopping activation has nothing under way any more."""
        hook = activation.schema.lifecycle.get("on_deactivate")
        if hook is None or activation.stale:
            self._deactivated(activation)
        elif activation.running is None and not activation.readers and activation.hook is None:
            activation.stale = True  # never again
            self._run_hook(activation, hook, DEACTIVATE_TIMEOUT, lambda _: self._deactivated(activation))

    def _deactivated(self, activation: Activation) -> None:
        if activation.state is ActivationState.ENDED:
            return
        self._end(activation, "deactivated")
        waiting = list(activation.mailbox)
        activation.mailbox.clear()
        if self._node.handover is not None or activation.address in self._node.moves or not self.vacate(activation):
            self._hand_over(activation, waiting)
        elif waiting:
            self._node.moves.takes(
                activation.schema, activation.key, [one for call in waiting for one in _copies(call)]
            )

    def _end(self, activation: Activation, reason: str) -> None:
        activation.state = ActivationState.ENDED
        activation.hook = None
        if activation.timers is not None:
            activation.timers.stop()
        if self._all.get(activation.address) is activation:
            del self._all[activation.address]
        if activation.subscribed:
            activation.end_stream(reason)

    def scan(self) -> None:
        """Look at a part of the catalog for idle activations, so that all are seen within half the idle time."""
        now = self._node.clock.monotonic()
        share = len(self._all) * 2 * SCAN_PERIOD / self._node.settings.IDLE_AFTER
        for _ in range(int(share) + 100):
            activation = next(self._scan, None)
            if activation is None:
                self._scan = iter(list(self._all.values()))
                return
            self._consider(activation, now)

    def _consider(self, activation: Activation, now: float) -> None:
        activation.tidy()
        if activation.touched or not activation.quiet or activation.subscribed or activation.timers is not None:
            activation.touched = False
            activation.idle_since = now
            return
        limit = activation.schema.idle_after or self._node.settings.IDLE_AFTER
        if now - activation.idle_since >= limit:
            self.deactivate(activation)


def _ask(activation: Activation) -> None:
    """Its row is read now, or a little later."""
    activation.verified_at = activation.monotonic()


def _leaving(activation: Activation, waiting: list[Call]) -> list[Call]:
    """What goes to the node where the actor goes on."""
    return [*repeats.bequest(activation), *(one for call in waiting for one in _copies(call))]


def _copies(call: Call) -> list[Call]:
    """A call and those that repeat it, each to be sent on by itself: where the actor is they are told apart."""
    if call.identity is None:
        return [call]
    copies, call.identity.copies = call.identity.copies, None
    return [call, *(copies or ())]


def _load_error(activation: Activation, outcome: LoadOutcome) -> LightMoonError:
    if type(outcome) is Missing:
        return ActorNotFound(f"There is no {activation.address}.")
    if type(outcome) is OwnedElsewhere:
        return Unavailable(
            f"{activation.address} is in the memory of another live process ({outcome.owner}), which this one can't "
            "reach. Stop that process, or send the message through it.",
            retry_after=1.0,
        )
    error = getattr(outcome, "error", None)
    logger.error("%s could not be loaded.", activation.address, exc_info=error, extra={"action": "load_failed"})
    failed = InternalError(f"{activation.address} could not be loaded.")
    failed.__cause__ = error
    return failed
