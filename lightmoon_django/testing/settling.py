"""`settle`: the test goes on when the actors have nothing left to do."""

from __future__ import annotations

from lightmoon_django.host import host
from lightmoon_django.testing import bridge
from lightmoon_django.testing.stillness import until_idle

LIMIT = 5.0  # seconds
LOOP_GRACE = 2.0  # seconds past it that the loop may take to say so


def settle(limit: float = LIMIT) -> None:
    """Block until nothing is under way on this process's node: what was told has run and is stored.

    Raises `AssertionError` after `limit` seconds, naming each busy actor and what it waits for.
    """
    node = host.node
    if node is not None:
        bridge.run(node, lambda: until_idle(node, limit), limit + LOOP_GRACE)


async def asettle(limit: float = LIMIT) -> None:
    """The same for `async def` tests."""
    node = host.node
    if node is not None:
        await bridge.arun(node, lambda: until_idle(node, limit))
