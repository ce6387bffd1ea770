"""The end of a process's solitude.

As long as no other process is there, one has all actors that live in memory only, and claims none of them: its node's
row says so for all at once. As soon as it learns of another one it claims what it has, one by one, and only then takes
that word back. Until then the claims of others wait.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from lightmoon_django.persistence.places import row_of
from lightmoon_django.persistence.store import Failed, Load, Loaded, LoadOutcome
from lightmoon_django.runtime import recovery
from lightmoon_django.runtime.activation import Activation
from lightmoon_django.runtime.states import ActivationState

if TYPE_CHECKING:
    from lightmoon_django.persistence.driver import StoreQueue
    from lightmoon_django.runtime.node import Node

AGAIN = 0.1  # seconds until a database that is away is told again


class Sharing:
    """Belongs to the node's loop."""

    def __init__(self, node: Node, directory: StoreQueue, incarnation: int) -> None:
        """`incarnation` is the one that was alone; what a later one says of itself is not touched."""
        self._node = node
        self._directory = directory
        self._incarnation = incarnation
        self._open = 1  # claims that are under way, and one until all are

    def begin(self) -> None:
        for activation in self._node.catalog:
            if activation.store is None and activation.directory is self._directory:
                self._open += 1
                self._claim(activation)
        self._done()

    def _claim(self, activation: Activation) -> None:
        load = Load(*row_of(activation.schema, activation.key))
        self._directory.load(load, functools.partial(self._claimed, activation))

    def _claimed(self, activation: Activation, outcome: LoadOutcome) -> None:
        ended = activation.state is ActivationState.ENDED
        if type(outcome) is Loaded and ended:
            if self._node.catalog.get(activation.address) is None:
                self._node.catalog.vacate(activation)
        elif type(outcome) is Loaded:
            activation.version = outcome.version
        elif type(outcome) is Failed and not ended:  # that is no word about who has it
            self._node.clock.call_at(self._node.clock.monotonic() + AGAIN, functools.partial(self._claim, activation))
            return
        elif not ended:
            recovery.lose(activation, "Another process has it.")
        self._done()

    def _done(self) -> None:
        self._open -= 1
        if not self._open:
            self._tell()

    def _tell(self) -> None:
        self._directory.query(lambda store: store.share(self._incarnation), self._told)

    def _told(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._node.clock.call_at(self._node.clock.monotonic() + AGAIN, self._tell)
