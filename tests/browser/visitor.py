"""Somebody who plays the scenario in a page, behind a network of their own."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from tests.browser.chromium import Browser, Window
from tests.browser.proxy import Proxy
from tests.server.harness import Server


class Visitor:
    """A page that plays the scenario behind a network that can be cut."""

    def __init__(self, window: Window, proxy: Proxy, server: Server, *transports: str) -> None:
        self.window, self.proxy, self.server, self.transports = window, proxy, server, transports
        self.key = f"scenario-{transports[0]}-{proxy.port}"
        made = (
            f"import('/static/scenario.js').then(({{ Scenario }}) => {{ globalThis.s = new Scenario({self._made}) }})"
        )
        window.js(made)

    @property
    def _made(self) -> str:
        return f"{json.dumps(self.transports)}, {json.dumps(self.key)}"

    @property
    def log(self) -> list[Any]:
        found: list[Any] = self.window.js("s.log")
        return found

    def told(self, kind: str) -> list[Any]:
        return [entry[1:] for entry in self.log if entry[0] == kind]

    def late(self, what: str) -> None:
        """A second one in the same page, `late` there, whose network keeps "answers" or "frames" back."""
        self.window.js(
            "import('/static/scenario.js').then(({ Scenario }) => { globalThis.late ="
            f" new Scenario({self._made}, undefined, {json.dumps(what)}) }})"
        )

    def elsewhere(self, events: int) -> None:
        """Somebody else makes the actor emit."""
        with self.server.client() as other:
            other.call("server.Clicks.burst", key=self.key, events=events)


class Visitors:
    """Those of one test. A context manager, at whose end they leave."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self._browser, self._server = browser, server
        self._stack = contextlib.ExitStack()

    def come(self, *transports: str, **network: Any) -> Visitor:
        """By the first of these transports that works; `network` is how the proxy behaves."""
        proxy = self._stack.enter_context(Proxy(self._server.port, **network))
        window = self._browser.window(f"http://127.0.0.1:{proxy.port}/static/empty.html")
        self._stack.callback(window.close)
        return Visitor(window, proxy, self._server, *transports)

    def __enter__(self) -> Visitors:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
