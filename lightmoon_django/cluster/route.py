"""The way to one node: the best of its paths that works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lightmoon_django.cluster.link import Path
from lightmoon_django.cluster.sendwindow import PIECE
from lightmoon_django.identity import Endpoint

Changed = Callable[[bool], None]


class Receiver(Protocol):
    """What carriers bring packets to. Implemented by `network.Network`. Never raises."""

    def receive(self, packet: object) -> None:
        """Take a sealed packet, or whatever else has come."""

    def receive_private(self, packet: bytes) -> None:
        """Take a packet of a connection whose opener has proved itself."""

    def proof(self, challenge: bytes, place: str) -> bytes:
        """What proves this node to who listens at that place."""

    def proves(self, proof: bytes, challenge: bytes, place: str) -> bool:
        """Whether that is a node of ours. If not, it is counted."""


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

    async def start(self, receiver: Receiver) -> None:
        """From now on give it every incoming packet."""

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
        self._best: CarrierPath | None = None  # kept, for every batch asks for it, as are the next five
        self.send: Callable[[bytes], None] = _nowhere
        self.limit = 2 * PIECE
        self.patience = 0.0
        self.private = False
        self.prompt = False

    def lead(self, endpoint: Endpoint, carriers: list[Carrier], changed: Changed) -> bool:
        """Open a path by each carrier that leads there. False when none does."""

        def choose_again(lost: bool) -> None:
            self._choose()
            changed(lost)

        for carrier in carriers:
            if path := carrier.open(endpoint, choose_again):
                self._paths.append(path)
                self._names.append(carrier.name)
        self._choose()
        return bool(self._paths)

    @property
    def carrier(self) -> str:
        """The name of the carrier in use; empty when there is none."""
        return self._names[self._paths.index(self._best)] if self._best else ""

    @property
    def ready(self) -> bool:
        return self._best is not None and self._best.ready

    def close(self) -> None:
        for path in self._paths:
            path.close()
        self._paths, self._names, self._best, self.send = [], [], None, _nowhere

    def _choose(self) -> None:
        best = self._best = next((path for path in self._paths if path.alive), None)
        self.send = best.send if best is not None else _nowhere
        if best is None:
            self.limit, self.patience, self.private, self.prompt = 2 * PIECE, 0.0, False, False
        else:
            self.limit, self.patience, self.private, self.prompt = best.limit, best.patience, best.private, best.prompt


def _nowhere(packet: bytes) -> None:
    pass
