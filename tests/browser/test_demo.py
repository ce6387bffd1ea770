"""The demo as a newcomer meets it: a real server, a real browser, two windows."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Window
from tests.browser.demo import SERVERS, Demo

under_all_servers = pytest.mark.parametrize("demo", SERVERS, indirect=True)

LINES = "[...document.querySelectorAll('.line .text')].map(line => line.innerText)"
PEOPLE = "[...document.querySelectorAll('#people li')].map(one => one.innerText.split('\\n').at(-1))"
STATE = "document.querySelector('#connection').dataset.state"


class Guest:
    """A window of the demo, and what its user does."""

    def __init__(self, browser: Browser, url: str, name: str, **size: int) -> None:
        self.window = browser.window(url, **size)
        self.live()
        self.call(name)

    def live(self, patience: float = 20) -> None:
        self.window.wait(f"{STATE} === 'open' && document.querySelectorAll('.line').length > 0", patience)

    def call(self, name: str) -> None:
        self.window.write("#name", name)
        self.window.wait(f"{PEOPLE}.includes('{name} (you)')")

    def say(self, text: str) -> None:
        self.window.write("[name=text]", text)

    def hears(self, text: str) -> None:
        self.window.wait_for_text("#lines", text)

    def sees(self, *people: str) -> None:
        wanted = sorted(people)
        self.window.wait(
            f"JSON.stringify({PEOPLE}.map(name => name.replace(' (you)', '')).sort()) === `{_json(wanted)}`"
        )

    def counts(self, number: int) -> None:
        self.window.wait(f"document.querySelector('#count').innerText === '{number}'")

    @property
    def lines(self) -> list[str]:
        found: list[str] = self.window.js(LINES)
        return found


def _json(names: list[str]) -> str:
    return "[" + ",".join(f'"{name}"' for name in names) + "]"


@pytest.fixture
def guests(browser: Browser, demo: Demo) -> Iterator[tuple[Guest, Guest]]:
    """Ada and Grace, in windows of their own. Neither page may have had any trouble."""
    ada, grace = Guest(browser, demo.url, "Ada"), Guest(browser, demo.url, "Grace")
    yield ada, grace
    for one in (ada, grace):
        one.window.close()


@under_all_servers
def test_two_windows_share_one_live_durable_object(demo: Demo, guests: tuple[Guest, Guest]) -> None:
    """Messages, who is here, who is typing and the counter cross from one window to the other."""
    ada, grace = guests
    ada.sees("Ada", "Grace")
    grace.sees("Ada", "Grace")
    ada.window.write("[name=text]", "Hel", enter=False)
    grace.window.wait_for_text("#typing", "Ada is typing")
    ada.say("Hello, Grace")
    grace.hears("Hello, Grace")
    grace.window.wait("document.querySelector('#typing').innerText === ''")
    grace.say("Hello, Ada <b>&</b> 🌕")
    ada.hears("Hello, Ada <b>&</b> 🌕")
    assert ada.lines == grace.lines
    ada.window.click("[data-add='1']")
    grace.window.click("[data-add='10']")
    ada.counts(11)
    grace.counts(11)
    assert ada.window.troubles == grace.window.troubles == [], "nothing went wrong, and the security policy holds"


@under_all_servers
def test_a_killed_server_is_found_again_with_everything_still_there(demo: Demo, guests: tuple[Guest, Guest]) -> None:
    """B58, B25: after SIGKILL and a restart both windows reconnect by themselves, and nothing is lost."""
    ada, grace = guests
    ada.say("Before the crash")
    grace.hears("Before the crash")
    ada.window.click("[data-add='10']")
    grace.counts(10)
    demo.kill()
    for one in guests:
        one.window.wait(f"{STATE} !== 'open'")
    demo.start()
    for one in guests:
        one.live()
        one.sees("Ada", "Grace")
        one.counts(10)
    grace.say("After the crash")
    ada.hears("After the crash")
    assert [line for line in ada.lines if "crash" in line] == ["Before the crash", "After the crash"]
    late = ada.window
    late.goto(demo.url)
    ada.live()
    assert ada.lines == grace.lines


def test_whoever_leaves_is_gone_from_the_list(browser: Browser, demo: Demo) -> None:
    """A closed window, and one that went to another room."""
    ada = Guest(browser, demo.url, "Ada")
    grace = Guest(browser, demo.url, "Grace")
    joan = Guest(browser, demo.url, "Joan")
    ada.sees("Ada", "Grace", "Joan")
    grace.window.close()
    joan.window.click("[data-room=workshop]")
    ada.sees("Ada")
    joan.sees("Joan")
    joan.say("Only here")
    joan.hears("Only here")
    joan.window.click("[data-room=lobby]")
    ada.sees("Ada", "Joan")
    assert "Only here" not in ada.lines


def test_an_outside_save_is_seen_in_open_windows(demo: Demo, browser: Browser) -> None:
    """Another process writes the counter's row: live windows get what is stored, and go on from there."""
    ada = Guest(browser, demo.url, "Ada")
    ada.window.click("[data-add='1']")
    ada.counts(1)
    code = "from demo_project.chat.models import Counter; Counter.objects.filter(pk='moon').update(count=500)"
    demo.manage("shell", "-c", code)
    ada.window.wait(
        "(document.querySelector('[data-add=\"1\"]').click(), +document.querySelector('#count').innerText > 500)"
    )


def test_seeding_twice_changes_nothing(demo: Demo, guests: tuple[Guest, Guest]) -> None:
    ada, grace = guests
    ada.say("Kept")
    grace.hears("Kept")
    demo.manage("seed")
    ada.window.goto(demo.url)
    ada.live()
    assert "Kept" in ada.lines


def test_the_page_takes_nothing_from_elsewhere(demo: Demo, guests: tuple[Guest, Guest]) -> None:
    """No CDN, no framework: every request goes to the demo itself."""
    window = guests[0].window
    requests = [url for url in window.requests if not url.startswith("data:")]
    assert requests
    assert [url for url in requests if not url.startswith(demo.url)] == []


def test_errors_of_actors_reach_the_page_as_declared(demo: Demo, guests: tuple[Guest, Guest]) -> None:
    """B18, in the browser: code, type and message of a declared error; an unexposed method is simply not there."""
    window = guests[0].window
    window.js("import('lightmoon').then(found => Object.assign(window, found)).then(() => true)")
    failed = "({type, code, message, retryable}) => ({type, code, message, retryable})"
    found = window.js(f"chat.Counter('moon').add(1000).catch({failed})")
    assert found == {"type": "bad_step", "code": 4001, "message": "Add 1 to 100 at a time.", "retryable": False}
    found = window.js(f"chat.Counter('moon').add('x').catch({failed})")
    assert found["type"] == "invalid_params"
    found = window.js(f"client.call('chat.Room.on_activate', {{key: 'lobby'}}).catch({failed})")
    assert found["code"] == -32601
    assert (
        window.js("chat.Room('no-such-room').say('x').catch(error => error instanceof LightMoonError && error.type)")
        == "not_found"
    )


def test_a_page_of_another_schema_is_told_to_reload(demo: Demo, browser: Browser) -> None:
    """4026: the page shows that it is outdated instead of failing oddly."""
    window = browser.window(demo.url)
    window.wait(f"{STATE} === 'open'")
    found = window.js(
        "import('lightmoon/client').then(({ Client }) => new Promise(resolve => {"
        " const old = new Client({ url: '/lightmoon/ws', schema: 'old' });"
        " old.on('upgrade', error => resolve([error.code, old.state])); old.connect(); }))"
    )
    assert found == [4026, "closed"]


def test_screenshot_of_two_windows(demo: Demo, browser: Browser, tmp_path: Path) -> None:
    """`make screenshot` sets LIGHTMOON_SCREENSHOT to where the picture is kept."""
    size = {"width": 980, "height": 680}
    ada, grace = Guest(browser, demo.url, "Ada", **size), Guest(browser, demo.url, "Grace", **size)
    for one in (ada, grace):
        one.window.send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    ada.say("The counter on the left is one row in the database.")
    grace.hears("one row")
    grace.say("And everybody here is looking at the same one?")
    ada.hears("the same one")
    ada.say("Yes. Kill the server and start it again: it is still there.")
    grace.hears("still there")
    for _ in range(4):
        ada.window.click("[data-add='10']")
    ada.window.click("[data-add='1']")
    grace.counts(41)
    grace.window.write("[name=text]", "Let me try", enter=False)
    ada.window.wait_for_text("#typing", "Grace is typing")
    target = Path(os.environ.get("LIGHTMOON_SCREENSHOT") or tmp_path / "demo.png")
    _side_by_side(browser, [ada.window, grace.window], target, size, tmp_path)
    assert target.stat().st_size > 20_000


def _side_by_side(browser: Browser, windows: list[Window], target: Path, size: dict[str, int], folder: Path) -> None:
    pictures = []
    for number, window in enumerate(windows):
        path = folder / f"{number}.png"
        window.screenshot(path)
        pictures.append(base64.b64encode(path.read_bytes()).decode())
    frame = browser.window("about:blank", width=2 * size["width"] + 72, height=size["height"] + 48)
    images = "".join(f"<img src='data:image/png;base64,{data}'>" for data in pictures)
    style = (
        "body{margin:0;padding:24px;display:flex;gap:24px;background:#2a3350}"
        "img{border-radius:12px;box-shadow:0 8px 30px #0006}"
    )
    frame.js(f"document.body.innerHTML = `<style>{style}</style>{images}`")
    frame.wait("[...document.images].every(image => image.complete)")
    frame.screenshot(target)
    frame.close()
