"""The kit for pytest: fixtures, found through the entry point `pytest11`. Does nothing where none is asked for.

It is loaded before Django is set up, so everything of LightMoon is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lightmoon_django.testing.driving import NodeClock
    from lightmoon_django.testing.faults import Faults
    from lightmoon_django.testing.kit import Kit
    from lightmoon_django.testing.recorder import Recorder


@pytest.fixture
def _lightmoon_kit() -> Iterator[Kit]:
    from lightmoon_django.testing.kit import Kit

    with Kit() as kit:
        yield kit


@pytest.fixture
def settle() -> Callable[..., None]:
    """`settle(limit=5.0)` blocks until nothing is under way. It fails after `limit` seconds, naming busy actors."""
    from lightmoon_django.testing.settling import settle

    return settle


@pytest.fixture
def asettle() -> Callable[..., Awaitable[None]]:
    """`await asettle(limit=5.0)`: the same for `async def` tests."""
    from lightmoon_django.testing.settling import asettle

    return asettle


@pytest.fixture
def clock(_lightmoon_kit: Kit) -> NodeClock:
    """The time of the test's node. It stands still until `clock.advance(seconds)` moves it."""
    return _lightmoon_kit.clock


@pytest.fixture
def events(_lightmoon_kit: Kit) -> Recorder:
    """What actors let out: `events.of(ref)` is a list of pairs of name and data."""
    return _lightmoon_kit.events


@pytest.fixture
def faults(_lightmoon_kit: Kit) -> Faults:
    """What can be made to go wrong: `with faults.fail_commit(ref): …`, and the like."""
    return _lightmoon_kit.faults
