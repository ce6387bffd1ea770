"""A browser and demo servers, shared by the tests that drive them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import npm
from tests.browser.chromium import Browser
from tests.browser.demo import Demo
from tests.browser.visitor import Visitors
from tests.databases import Databases
from tests.server.harness import Server

PAGES = {"SERVER_URLS": "tests.browser.urls"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's database as `make demo` first creates it."""
    return Demo(tmp_path_factory.mktemp("demo")).prepare()


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path, fresh_database: Path) -> Iterator[Demo]:
    """A running demo with fresh data, under the server that the test names, or `runserver`."""
    demo = Demo(tmp_path, getattr(request, "param", "runserver"))
    shutil.copy(fresh_database, demo.database)
    try:
        demo.start()
        yield demo
    finally:
        demo.stop()


@pytest.fixture(scope="session")
def node_modules() -> Path | None:
    """Packages that only the tests need, from `npm/package-lock.json`; `None` where they can't be had."""
    return npm.install()


@pytest.fixture
def packages(node_modules: Path | None) -> Path:
    """The same, for tests that can't do without."""
    if node_modules is None:
        pytest.skip("npm is not installed or fetches nothing: the real Alpine, htmx and esbuild can't be had")
    return node_modules


@pytest.fixture(scope="session")
def site(databases: Databases, node_modules: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the tests' own pages, under DEBUG. Nobody may stop it."""
    environment = databases.sqlite(tmp_path_factory.mktemp("site"))
    with serving(**environment, **PAGES, SERVER_DEBUG="yes", NODE_MODULES=str(node_modules)) as server:
        yield server


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of a module's own, whose tests may stop it. It runs with what the module's `SERVER` says."""
    environment = databases.sqlite(tmp_path_factory.mktemp("server"))
    with serving(**environment, **getattr(request.module, "SERVER", {})) as server:
        yield server


@pytest.fixture
def visitors(browser: Browser, server: Server) -> Iterator[Any]:
    """Makes a visitor of it, for a transport."""
    with Visitors(browser, server) as visitors:
        yield visitors.come


@contextlib.contextmanager
def serving(**environment: str) -> Iterator[Server]:
    server = Server("uvicorn", environment)
    server.start()
    try:
        yield server
    finally:
        server.stop()
