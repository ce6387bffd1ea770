"""The way to one node: the best of its paths that works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lightmoon_django.cluster.link import Path
from lightmoon_django.cluster.sendwindow import PIECE
from lightmoon_django.cluster.wire import MAX_PACKET
from lightmoon_django.identity import Endpoint

Changed = Callable[[bool], None]


class CarrierPath(Path, Protocol):
    """A carrier's way to one node."""

    @property
    def alive(self) -> bool:
        """False: nothing gets through now, as far as it can tell. It keeps trying by itself."""


class Carrier(Protocol):
    """One kind of way between nodes. Everything is called on the event loop."""

    @property
    def name(self) -> str:
        """One word, for people."""

    async def start(self, receive: Callable[[object], None]) -> None:
        """From now on give every incoming packet to `receive`, which takes anything and never raises."""

    async def stop(self) -> None:
        """Receive no more. Started and stopped at most once."""

    def open(self, endpoint: Endpoint, changed: Changed) -> CarrierPath | None:
        """A way there; None when this carrier doesn't lead there.

        It calls `changed(lost)` when it becomes ready, and when it becomes dead or alive; `lost` when packets that it
        took may be gone.
        """


class Route:
    """Implements `link.Path`. Goes by the first living path of those that it has, best first.

    A full path is waited for and not passed by: what made it full is a slow peer, and that is no faster elsewhere.
    """

    def __init__(self) -> None:
        self._paths: list[CarrierPath] = []
        self._names: list[str] = []

    def lead(self, endpoint: Endpoint, carriers: list[Carrier], changed: Changed) -> bool:
        """Open a path by each carrier that leads there. False when none does."""
        for carrier in carriers:
            if path := carrier.open(endpoint, changed):
                self._paths.append(path)
                self._names.append(carrier.name)
        return bool(self._paths)

    @property
    def carrier(self) -> str:
        """The name of the carrier in use; empty when there is none."""
        best = self._best()
        return self._names[self._paths.index(best)] if best else ""

    @property
    def limit(self) -> int:
        best = self._best()
        return best.limit if best else min(MAX_PACKET, 2 * PIECE)

    @property
    def patience(self) -> float:
        best = self._best()
        return best.patience if best else 0.0

    @property
    def ready(self) -> bool:
        best = self._best()
        return best is not None and best.ready

    def send(self, packet: bytes) -> None:
        if best := self._best():
            best.send(packet)

    def close(self) -> None:
        for path in self._paths:
            path.close()
        self._paths, self._names = [], []

    def _best(self) -> CarrierPath | None:
        for path in self._paths:
            if path.alive:
                return path
        return None
