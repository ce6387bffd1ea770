"""A proxy as the store of the real React and the real Svelte."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import node
from tests.browser.chromium import Browser, Window
from tests.server.harness import Server

ENTRY = """
import { createElement, useSyncExternalStore, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { derived, get } from "svelte/store";
export { createElement, createRoot, derived, get, StrictMode, useSyncExternalStore };
"""

REACT = """
(async () => {
  const { actor } = await import("lightmoon/client");
  const { createElement: h, createRoot, StrictMode, useSyncExternalStore } = libraries;
  globalThis.clicks = actor("server.Clicks", { add: ["n"], refuse: [] })("react");
  globalThis.renders = [];
  function Count() {
    const state = useSyncExternalStore(clicks.subscribe, clicks.getSnapshot);
    renders.push(state?.count);
    return h("b", { id: "react" }, state?.count ?? "–");
  }
  globalThis.root = createRoot(document.body.appendChild(document.createElement("div")));
  root.render(h(StrictMode, null, h(Count), h(Count)));
})()
"""

SVELTE = """
(async () => {
  const { actor } = await import("lightmoon/client");
  const { derived, get } = libraries;
  globalThis.clicks = actor("server.Clicks", { add: ["n"], refuse: [] })("svelte");
  globalThis.values = [];
  const twice = derived(clicks, (state) => state && state.count * 2);
  globalThis.off = twice.subscribe((one) => values.push(one));
  globalThis.read = () => get(clicks)?.count;
})()
"""


@pytest.fixture(scope="module")
def window(browser: Browser, node_modules: Path | None, site: Server) -> Iterator[Window]:
    if node_modules is None:
        pytest.skip("npm is not installed or fetches nothing: React and Svelte can't be had")
    bundle = subprocess.run(
        [
            "node", str(node_modules / "esbuild" / "bin" / "esbuild"), "--bundle", "--format=iife",
            "--global-name=libraries", "--conditions=browser", '--define:process.env.NODE_ENV="development"',
        ],
        input=ENTRY, cwd=node_modules.parent, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    window = browser.window(f"http://127.0.0.1:{site.port}/pages/bindings/stores/")
    window.js(f"{bundle}; globalThis.libraries = libraries; 0")
    yield window
    window.close()


@node.needed
def test_react_renders_a_proxy_by_its_own_hook(window: Window) -> None:
    """Two components, strict mode: no loop, no torn state; the optimistic one is shown and rolled back."""
    window.js(REACT)
    window.js("clicks.add(3)")
    window.wait("[...document.querySelectorAll('#react')].map((b) => b.innerText).join() === '3,3'")
    window.js(
        "clicks.optimistic((state) => ({ ...state, count: 99 }),"
        " () => new Promise((_, reject) => (globalThis.fail = reject))).catch(() => {}), 0"
    )
    window.wait("document.querySelector('#react').innerText === '99'")
    window.js("fail(new Error('no')), 0")
    window.wait("document.querySelector('#react').innerText === '3'")
    assert window.js("renders.length") < 30
    window.js("root.unmount()")
    window.wait("clicks.state === undefined")  # nobody listens any more
    assert window.troubles == []


@node.needed
def test_svelte_takes_a_proxy_for_a_store(window: Window) -> None:
    """It hears of the state at once, also when it comes late; `get` and `derived` work."""
    window.js(SVELTE)
    window.js("clicks.add(4)")
    window.wait("values.at(-1) === 8")
    assert window.js("values[0] ?? null") is None
    assert window.js("read()") == 4
    window.js("off()")
    window.wait("clicks.state === undefined")
    assert window.troubles == []
