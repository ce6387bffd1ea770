"""The panel beside a page that it watches."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Window
from tests.server.harness import Server

ROWS = (
    "[...document.querySelectorAll('#entries li')].map((row) => [row.children[1].innerText, row.children[2].innerText])"
)

ANSWERED = "[...document.querySelectorAll('#entries li.call .ms')].filter((ms) => ms.innerText).length"


@pytest.fixture
def windows(browser: Browser, site: Server) -> Iterator[tuple[Window, Window]]:
    """A page that was busy already, and the panel, in one profile."""
    origin = f"http://127.0.0.1:{site.port}"
    page = browser.window(f"{origin}/pages/watched/{secrets.token_hex(4)}/")
    page.wait("document.querySelector('h1').innerText === 'Untitled'")
    page.click("form button")
    page.wait_for_text("output", "A title, please.")
    panel = page.beside(f"{origin}/lightmoon/devtools", width=1180, height=640)
    panel.wait_for_text("#entries", "rename")
    yield page, panel
    for window in (page, panel):
        assert window.troubles == []
        window.close()


def test_the_panel_shows_what_the_client_did_and_does(windows: tuple[Window, Window], tmp_path: Path) -> None:
    """Calls with their times and errors, events, patches, the connection; also what was before it was opened."""
    page, panel = windows
    page.write("[name=title]", "Plans for the summer")
    panel.wait(f"{ANSWERED} === 2")
    for number in range(6):
        page.click("#add")
        panel.wait(f"{ANSWERED} === {number + 3}")  # a button takes no other press while its call is under way
    panel.wait(f"{ROWS}.filter(([kind]) => kind === 'event').length === 6")
    kinds = [kind for kind, _ in panel.js(ROWS)]
    assert (kinds.count("call"), kinds.count("state")) == (8, 7)
    panel.wait("[...document.querySelectorAll('#statistics div')].some((one) => one.innerText.match(/^1\\s*failed$/))")
    assert panel.js("document.querySelector('#connection').innerText") == "open · websocket"
    panel.click("li.failed")
    panel.wait_for_text("#details", "A title, please.")
    assert panel.js("document.querySelector('li.failed .ms').innerText").endswith("ms")
    panel.screenshot(Path(os.environ.get("LIGHTMOON_DEVTOOLS_SCREENSHOT") or tmp_path / "devtools.png"))

    panel.click("[data-kind=event]")
    assert {kind for kind, _ in panel.js(ROWS)} == {"event"}
    panel.click("[data-kind='']")
    panel.js("(e => { e.value = 'summer'; e.dispatchEvent(new Event('input')) })(document.querySelector('#search'))")
    assert [kind for kind, _ in panel.js(ROWS)] == ["call", "state"]


def test_what_proves_who_somebody_is_stays_in_its_page(windows: tuple[Window, Window]) -> None:
    """The session's token is no one else's business, a page of the same origin included."""
    page, panel = windows
    page.js(
        "import('lightmoon/client').then(({ client }) => (client.close(), client.connect()))"
    )  # a hello to be heard
    panel.wait_for_text("#entries", "lm.hello")
    panel.wait("document.querySelector('#connection').dataset.state === 'open'")
    panel.js(
        "globalThis.heard = [], globalThis.ear = new BroadcastChannel('lightmoon-devtools'),"
        " ear.onmessage = ({ data }) => heard.push(JSON.stringify(data)), ear.postMessage({ want: 'all' })"
    )
    panel.wait("heard.join().includes('lm.hello')")
    tokens = {found[1] for frame in page.frames if (found := re.search(r'"session":"([^"]+)"', frame))}
    assert tokens
    assert not [token for token in tokens if token in panel.js("heard.join()")]
    page.js("import('lightmoon/client').then(({ client }) => client.close())")
    panel.wait("document.querySelector('#connection').dataset.state === 'closed'")
