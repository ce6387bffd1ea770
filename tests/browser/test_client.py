"""The JavaScript client against a server that the tests play, in Chromium and, where it is installed, in Node."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import node
from tests.browser.chromium import Browser
from tests.browser.node import RUNTIME, TESTS

FILES = sorted(path.name for path in TESTS.glob("test_*.js"))

NODE = """
const [file] = process.argv.slice(2);
await import(file);
const { runAll } = await import("./javascript/harness.js");
console.log(JSON.stringify(await runAll()));
process.exit(0);
"""


class _Files(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        path = path.partition("?")[0]
        if path.startswith("/lightmoon/"):
            return str(RUNTIME / path.removeprefix("/lightmoon/"))
        return str(TESTS / Path(path).name)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    """Serves the runtime and its tests; gives the URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _report(results: list[dict[str, str | None]]) -> None:
    assert results
    failed = [f"{one['name']}\n{one['error']}" for one in results if one["error"] is not None]
    assert not failed, "\n\n".join(failed)


@pytest.mark.parametrize("name", FILES)
def test_the_client_keeps_its_promises_in_chromium(browser: Browser, files: str, name: str) -> None:
    """B55, B58, B59, B60, client side: see the tests' own names."""
    window = browser.window(f"{files}/empty.html")
    try:
        run = f"import('/{name}').then(() => import('/harness.js')).then(({{ runAll }}) => runAll())"
        _report(window.js(run))
    finally:
        window.close()


@node.needed
@pytest.mark.parametrize("name", FILES)
def test_the_client_keeps_its_promises_in_node(tmp_path: Path, name: str) -> None:
    """The runtime needs nothing of a page but a WebSocket class."""
    _report(node.run(tmp_path, NODE, f"./javascript/{name}"))
