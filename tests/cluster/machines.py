"""Processes of one machine that behave as if each had a machine of its own, with a network that isn't reliable."""

from __future__ import annotations

import asyncio
import os
import random
import threading
from typing import Any


def prepare() -> None:
    """What the environment asks for.

    `LAYER_REDIS` for the layer in place of sockets, `LAYER_LOSSES` for a bad one; `DEAF` for sockets that can't listen;
    `BLIND_LOOKS` for so many looks at the other nodes that the database does not answer.
    """
    if "LAYER_REDIS" in os.environ:
        _as_on_another_machine()
    if seed := os.environ.get("LAYER_LOSSES"):
        _lose_casts(random.Random(seed))
    if "DEAF" in os.environ:
        _deafen()
    if "BLIND_LOOKS" in os.environ:
        _blind(int(os.environ["BLIND_LOOKS"]))


def _as_on_another_machine() -> None:
    """No socket leads anywhere."""
    from lightmoon_django.cluster.carriers.unix import UnixCarrier

    UnixCarrier.open = lambda *_: None  # type: ignore[method-assign]


def _lose_casts(rng: random.Random) -> None:
    """Of all casts that come, some are dropped, some come twice, and some after later ones."""
    from lightmoon_django.cluster.groups import Groups

    receive = Groups.receive

    def lose(self: Groups, packet: object) -> None:
        for _ in range(rng.choices((0, 1, 2), (0.15, 0.7, 0.15))[0]):
            asyncio.get_running_loop().call_later(rng.choice((0.0, 0.002, 0.05)) * rng.random(), receive, self, packet)

    Groups.receive = lose  # type: ignore[method-assign]


def _deafen() -> None:
    from lightmoon_django.cluster.carriers import sockets

    def listen(path: object) -> Any:
        raise OSError(f"Nobody can listen at {path}.")

    sockets.listen = listen


def _blind(looks: int) -> None:
    from django.db import OperationalError

    from lightmoon_django.persistence.nodes import Nodes

    survey, left = Nodes.survey, iter(range(looks))

    def look(self: Nodes) -> Any:
        if threading.current_thread().name.startswith("lightmoon-peers") and next(left, None) is not None:
            raise OperationalError("The database does not answer.")
        return survey(self)

    Nodes.survey = look  # type: ignore[method-assign]
