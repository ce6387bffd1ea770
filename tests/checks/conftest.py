"""Actors that exist for one test only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test.utils import isolate_apps

from lightmoon_django.actor import registry


@pytest.fixture(autouse=True)
def own_registry() -> Iterator[None]:
    """Forget afterwards what a test declared: actors and models."""
    kept = [dict(registry._registered), dict(registry._refs), dict(registry._schemas)]
    with isolate_apps("tests.app"):
        yield
    for current, before in zip((registry._registered, registry._refs, registry._schemas), kept, strict=True):
        current.clear()
        current.update(before)  # type: ignore[arg-type]
