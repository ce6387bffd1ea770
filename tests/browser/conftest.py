"""A browser and demo servers, shared by the tests that drive them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser
from tests.browser.demo import Demo


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Demo]:
    """A running demo with fresh data, under the server that the test names, or `runserver`."""
    demo = Demo(tmp_path, getattr(request, "param", "runserver"))
    demo.prepare()
    demo.start()
    yield demo
    demo.stop()
