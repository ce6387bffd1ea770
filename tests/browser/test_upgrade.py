"""Pages that are older than the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import node
from tests.browser.chromium import Browser, Window
from tests.browser.conftest import PAGES
from tests.server.harness import Server

SERVER = PAGES
TRANSPORTS = ("websocket", "sse", "poll")
STATUS = "document.querySelector('#status')?.dataset.state"

STALE = """
(async (transport) => {
  const { Client, actor } = await import("/static/lightmoon_django/index.js");
  const told = [];
  document.addEventListener("lightmoon:upgrade", ({ detail }) => told.push(detail.code));
  const client = new Client({
    url: "/lightmoon/ws", schema: "old", transports: [transport], backoff: { base: 0.01, cap: 0.01 }, timeout: 5,
  });
  const states = [];
  client.on("state", (state) => states.push(state));
  const clicks = actor("server.Clicks", { add: ["n"] })("stale", client);
  clicks.on("tick", () => {});
  const first = await clicks.add(1).catch((error) => [error.code, error.type, error.retryable]);
  const later = await clicks.add(1).catch((error) => error.type);
  await new Promise((resolve) => setTimeout(resolve, 300)); // in which a loop would connect many times
  return { first, later, told, states };
})
"""

NODE = """
const [url] = process.argv.slice(2);
const { Client } = await import("./lightmoon/index.js");
const found = {};
for (const transport of ["websocket", "sse", "poll"]) {
  const client = new Client({ url, schema: "old", transports: [transport] });
  found[transport] = await client.call("server.Clicks.add", { key: "stale" }).catch(({ code }) => [code, client.state]);
}
console.log(JSON.stringify(found));
"""


def _visit(browser: Browser, server: Server, page: str) -> Window:
    return browser.window(f"http://127.0.0.1:{server.port}/{page}")


def test_a_stale_client_is_told_so_at_once_and_does_not_try_again(browser: Browser, site: Server) -> None:
    """B63: over every transport, calls that wait and calls that come later; one attempt, one event."""
    for transport in TRANSPORTS:
        window = _visit(browser, site, "static/empty.html")
        try:
            assert window.js(f"{STALE}('{transport}')") == {
                "first": [4026, "upgrade_needed", False],
                "later": "upgrade_needed",
                "told": [4026],
                "states": ["connecting", "closed"],
            }
        finally:
            window.close()


@node.needed
def test_a_stale_client_is_told_so_in_node_too(site: Server, tmp_path: Path) -> None:
    """B63: where there is no document."""
    folder = tmp_path / "node"
    folder.mkdir()
    found = node.run(folder, NODE, f"ws://127.0.0.1:{site.port}/lightmoon/ws")
    assert found == {transport: [4026, "closed"] for transport in TRANSPORTS}


@pytest.mark.slow
def test_an_open_page_loads_itself_again_after_a_deployment(browser: Browser, server: Server) -> None:
    """B63: if it said so it is live again, with the new schema; another one is told, and stays as it is."""
    willing = _visit(browser, server, "pages/upgrade/a/?reload")
    other = _visit(browser, server, "pages/upgrade/a/")
    for window in (willing, other):
        window.wait(f"{STATUS} === 'open'")
        window.js("globalThis.old = true")
    other.js("document.addEventListener('lightmoon:upgrade', ({ detail }) => (globalThis.told = detail.code)), 0")
    server.end()
    server.deploy(SERVER_NEWER="yes")
    server.start()
    for window in (willing, other):
        window.js("dispatchEvent(new Event('online'))")  # it may be waiting for long by now
    willing.wait(f"!globalThis.old && {STATUS} === 'open'")
    other.wait("globalThis.told === 4026")
    assert other.js(f"[globalThis.old, {STATUS}]") == [True, "closed"]
    willing.close()
    other.close()


def test_a_page_that_is_as_old_after_loading_is_not_loaded_again(browser: Browser, site: Server) -> None:
    """A cache that serves the old page must not become a loop."""
    window = _visit(browser, site, "pages/upgrade/b/?reload")
    try:
        window.wait(f"{STATUS} === 'open'")
        stale = (
            'document.querySelector(\'#lightmoon-config\').textContent.replace(/"schema":"[^"]*"/, \'"schema":"old"\')'
        )
        loads = "(sessionStorage.loads = +(sessionStorage.loads ?? 0) + 1)"
        source = f"""
            new MutationObserver((_, watch) => {{
              const config = document.querySelector('#lightmoon-config');
              if (config?.textContent && document.body) {{ watch.disconnect(); config.textContent = {stale}; {loads}; }}
            }}).observe(document, {{ childList: true, subtree: true }});
        """
        window.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        window.js("location.reload()")
        window.wait("sessionStorage.loads === '2'")
        window.wait(f"{STATUS} === 'closed'")
        window.js("new Promise((resolve) => setTimeout(resolve, 500))")  # in which it would be loaded again
        assert window.js("sessionStorage.loads") == "2"
    finally:
        window.close()
