"""Pages without a script of their own: attributes, Alpine and htmx, against a real server and a strict policy."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Browser, Window, until
from tests.server.harness import Server


@pytest.fixture
def key() -> str:
    return f"board-{secrets.token_hex(4)}"


@pytest.fixture
def visit(browser: Browser, site: Server, key: str) -> Iterator[Any]:
    """Opens a page for a board of this test's own. The page may have had no trouble in the end."""
    opened: list[Window] = []

    def open_(page: str, query: str = "") -> Window:
        opened.append(browser.window(f"http://127.0.0.1:{site.port}/pages/{page}/{key}/{query}"))
        return opened[-1]

    yield open_
    troubles = [trouble for window in opened for trouble in window.troubles]
    for window in opened:
        window.close()
    assert not troubles


@pytest.fixture
def elsewhere(site: Server, key: str) -> Any:
    """Somebody else sends the board a message."""

    def call(message: str, **params: Any) -> Any:
        with site.client() as other:
            return other.call(message, key=key, **params)

    return call


def test_elements_show_the_state_and_follow_it(visit: Any, elsewhere: Any) -> None:
    """Texts, visibility, classes and attributes, under a policy that allows no evaluation and no inline code."""
    window = visit("bindings")
    window.wait_for_text("h1", "Untitled")
    window.wait("document.querySelector('#status').dataset.state === 'open'")
    window.wait("document.querySelector('#link').getAttribute('href') === '/elsewhere'")
    assert window.js("[document.querySelector('#closed').hidden, document.querySelector('#open').className]") == [
        True, "free",
    ]  # fmt: skip
    elsewhere("server.Board.rename", title="Plans")
    elsewhere("server.Board.close", closed=True)
    window.wait_for_text("h1", "Plans")
    window.wait("document.querySelector('#open').hidden && !document.querySelector('#closed').hidden")
    assert window.js("document.querySelector('#open').className") == "busy"
    assert window.js("document.querySelector('#link').title") == "Plans"


def test_a_link_never_becomes_code(visit: Any, elsewhere: Any) -> None:
    """What an actor's state says is data: no javascript: address, whatever its spelling."""
    window = visit("bindings")
    href = "document.querySelector('#link').getAttribute('href')"
    for bad in ("javascript:alert(1)", " JaVa\tscript:alert(1)", "data:text/html,x", "\x01javascript:x", "vbscript:x"):
        elsewhere("server.Board.lead", link="/fine")
        window.wait(f"{href} === '/fine'")
        elsewhere("server.Board.lead", link=bad)
        window.wait(f"{href} === null")
    for good in ("https://a.example/b:c", "?q=a:b", "#top", "mailto:a@b.example"):
        elsewhere("server.Board.lead", link=good)
        window.wait(f"{href} === '{good}'")


def test_no_binding_makes_code_of_data(visit: Any, elsewhere: Any) -> None:
    """Neither handlers, nor what LightMoon, htmx or Alpine obey, nor scripts, whoever has chosen the names."""
    window = visit("bindings")
    elsewhere("server.Board.lead", link="javascript:alert(1)")
    names = ["onclick", "ONLOAD", "srcdoc", "style", "data-lm-call", "data-lm", "hx-get", "data-hx-get", "x-html"]
    names += ["@click", ":href", "v-html", "_", "script", "sse-connect", "formaction", "action", "src", "to", "values"]
    pairs = " ".join(f"{name}:link" for name in ["title", *names])
    window.js(
        "document.querySelector('#closed').insertAdjacentHTML('beforebegin',"
        f" `<b id='bad' data-lm-attr='{pairs} lang:title'></b>"
        "<script id='code' type='text/plain' data-lm-text='title'></script>"
        "<base id='base' data-lm-attr='href:title'>`)"
    )
    elsewhere("server.Board.rename", title="Plans")
    window.wait("document.querySelector('#bad').lang === 'Plans'")
    assert window.js("document.querySelector('#bad').title") == "javascript:alert(1)"
    found = window.js("[...document.querySelector('#bad').attributes].map(({ name }) => name)")
    assert sorted(found) == ["data-lm-attr", "id", "lang", "title"]
    assert window.js("document.querySelector('#code').textContent") == ""
    assert window.js("document.querySelector('#base').hasAttribute('href')") is False
    assert all("would be code" in one for one in window.troubles)
    window.troubles.clear()
    elsewhere("server.Board.lead", link="#;javascript:alert(1)")  # what `values` takes is a list
    window.wait("document.querySelector('#bad').title.startsWith('#')")
    assert window.js("document.querySelector('#bad').hasAttribute('values')") is False
    window.troubles.clear()


def test_what_is_to_be_ignored_has_no_say(visit: Any, elsewhere: Any, key: str) -> None:
    """HTML that somebody else wrote: it shows no actor, sends nothing in a reader's name, gives no form a value."""
    window = visit("bindings")
    window.wait("document.querySelector('#link').hasAttribute('href')")
    window.js(
        "document.querySelector('#close').insertAdjacentHTML('beforebegin', `<div id='theirs' data-lm-ignore>"
        "<button id='b1' data-lm-call='rename' data-lm-params='{\"title\": \"Evil\"}'>Free!</button>"
        f"<div data-lm='server.Board:{key}-victim'><i data-lm-text='title'></i><button id='b2' data-lm-call='close'"
        " name='closed'></button></div>"
        "<u data-lm-text='title'></u><output data-lm-error></output><p data-lm-status></p>"
        "<template data-lm-event='noted'><s data-lm-text='text'></s></template>"
        "<template data-lm-each='notes'><s data-lm-text='text'></s></template>"
        "<input form='note' name='stars' value='666' type='number'>"
        "<button id='b3' form='note' name='text' value='Evil'></button></div>`), 0"
    )
    frames = len(window.frames)
    for button in ("b1", "b2", "b3"):
        window.js(f"document.querySelector('#{button}').click()")
    window.write("#note [name=text]", "Milk")
    window.wait_for_text("#notes", "Milk 0 on Untitled")
    window.click("#rename button")
    window.wait_for_text("#rename output", "A title, please.")
    assert window.js("document.querySelectorAll('#theirs s').length") == 0
    assert window.text("#theirs") == "Free!"
    assert window.js("document.querySelector('#theirs p').dataset.state ?? null") is None
    sent = [frame for frame in list(window.frames)[frames:] if "method" in frame and "server.Board" in frame]
    assert not [frame for frame in sent if "Evil" in frame or "666" in frame or "victim" in frame]


def test_forms_buttons_and_fields_send_messages(visit: Any) -> None:
    """Fields are the parameters, by name, as JSON has them: numbers and ticks are no texts."""
    window = visit("bindings")
    window.wait("document.querySelector('#link').hasAttribute('href')")
    window.write("#rename [name=title]", "Mine")
    window.wait_for_text("h1", "Mine")
    window.wait("document.querySelector('#rename [name=title]').value === ''")
    window.js("document.querySelector('#note [name=urgent]').click()")
    window.write("#note [name=stars]", "3", enter=False)
    window.write("#note [name=text]", "Milk")
    window.wait_for_text("#notes", "Milk 3 on Mine")
    assert window.js("document.querySelector('#notes li').className") == "urgent"
    window.write("#note [name=text]", "Bread")  # an empty number says nothing: the default counts
    window.wait_for_text("#notes", "Bread 0 on Mine")
    window.click("#notes li button")
    window.wait("document.querySelectorAll('#notes li').length === 1")
    assert "Bread" in window.text("#notes")
    window.click("#close")
    window.wait("document.querySelector('#switch').checked")
    window.click("#switch")
    window.wait("!document.querySelector('#closed').checkVisibility()")
    window.write("#title", "By field")
    window.wait_for_text("h1", "By field")


def test_a_refusal_is_shown_where_the_page_has_a_place_for_it(visit: Any) -> None:
    """And told as a DOM event; the form keeps what was written, and can be sent again."""
    window = visit("bindings")
    window.js("document.addEventListener('lightmoon:error', ({ detail }) => (window.told = detail.error.type)), 0")
    window.click("#rename button")
    window.wait_for_text("#rename output", "A title, please.")
    assert window.js("window.told") == "empty"
    window.write("#rename [name=title]", "Better")
    window.wait_for_text("h1", "Better")
    window.wait("document.querySelector('#rename output').hidden")


def test_a_list_keeps_its_elements_and_events_are_appended(visit: Any, elsewhere: Any) -> None:
    """An item that stays is the same element; of events the last ones are kept; both are told as DOM events."""
    window = visit("bindings")
    window.wait("document.querySelector('#link').hasAttribute('href')")
    window.js("document.addEventListener('lightmoon:noted', ({ detail }) => (window.heard = detail.data.text)), 0")
    for number in range(5):
        elsewhere("server.Board.note", text=f"n{number}")
    window.wait("document.querySelectorAll('#notes li').length === 5")
    window.wait("window.heard === 'n4'")
    assert window.text("#log").split() == ["n2", "n3", "n4"]
    window.js("window.kept = document.querySelectorAll('#notes li')[3], 0")
    elsewhere("server.Board.remove", id=2)
    window.wait("document.querySelectorAll('#notes li').length === 4")
    assert window.js("document.querySelectorAll('#notes li')[2] === window.kept") is True


def test_elements_that_come_later_are_bound_and_those_that_go_are_left(visit: Any, elsewhere: Any, key: str) -> None:
    """Also another actor inside an actor's element."""
    window = visit("bindings")
    elsewhere("server.Clicks.add", n=7)
    window.wait_for_text("#count", "7")
    window.js(
        "document.querySelector('#later').innerHTML ="
        f" `<p data-lm='server.Board:{key}-2'><b data-lm-text='title'></b></p>`"
    )
    window.wait_for_text("#later", "Untitled")
    window.js(f"document.querySelector('#later p').dataset.lm = 'server.Clicks:{key}', 0")
    window.js("document.querySelector('#later b').dataset.lmText = 'count', 0")
    elsewhere("server.Clicks.add", n=1)
    window.wait_for_text("#later", "8")
    window.js("document.querySelector('#later').replaceChildren()")
    until(lambda: _left(window, f"{key}-2"), lambda: f"The window leaves what is gone: {list(window.frames)}")
    window.js("document.querySelector('main').remove()")
    until(lambda: _left(window, key), lambda: f"The window leaves what is gone: {list(window.frames)}")


def _left(window: Window, key: str) -> bool:
    window.js("0")  # what was sent is read along with an answer
    return any("lm.unsubscribe" in frame and f'"{key}"' in frame for frame in window.frames)


@pytest.mark.parametrize("query", ["", "?loose"])
def test_alpine_shows_the_state_and_sends_messages(
    packages: Path, visit: Any, elsewhere: Any, key: str, query: str
) -> None:
    """Its build for strict policies, and the ordinary one, which evaluates."""
    window = visit("alpine", query)
    window.wait_for_text("h1", "Untitled")
    window.wait_for_text("#connection", "open")
    elsewhere("server.Board.rename", title="Plans")
    window.wait_for_text("h1", "Plans")
    window.click("#add")
    window.wait_for_text("ul", "Milk")
    window.click("#refused")
    window.wait_for_text("#error", "A title, please.")
    window.click("#add")
    window.wait("document.querySelector('#error').innerText === ''")
    window.js("document.querySelector('main').remove()")
    until(lambda: _left(window, key), "The window leaves what is gone")
    assert all(
        "A title, please." in one for one in window.troubles
    )  # Alpine reports what a handler's promise ends with
    window.troubles.clear()


@pytest.mark.parametrize("query", ["", "?two"])
def test_htmx_fetches_fragments_again_when_the_state_changes(
    packages: Path, visit: Any, elsewhere: Any, query: str
) -> None:
    """What Django renders, inside the element or in its place, without a fetch too many."""
    window = visit("htmx", query)
    window.wait_for_text("#inner h1", "Untitled")
    window.wait_for_text("#outer h2", "Untitled")
    for number in range(20):
        elsewhere("server.Board.note", text=f"n{number}")
    elsewhere("server.Board.rename", title="Plans")
    window.wait_for_text("#inner h1", "Plans")
    window.wait_for_text("#inner", "n19")
    window.wait_for_text("#outer h2", "Plans")
    fetches = [url for url in window.requests if "/pages/whole/" in url]
    assert 2 <= len(fetches) <= 22


@pytest.mark.parametrize("query", ["", "?two"])
def test_the_htmx_extension_needs_an_address_and_no_trigger(
    packages: Path, visit: Any, elsewhere: Any, key: str, query: str
) -> None:
    """A trigger that is there stays; elements without an address are left alone; what is removed is left."""
    window = visit("extension", query)
    window.wait_for_text("#inner h1", "Untitled")
    window.wait_for_text("#outer", "Untitled")
    elsewhere("server.Board.rename", title="Plans")
    window.wait_for_text("#inner h1", "Plans")
    window.wait_for_text("#outer", "Plans")
    fetched = sum("/pages/button/" in url for url in window.requests)

    def clicked() -> bool:  # once htmx listens on what it has just put there
        window.click("#outer")
        return sum("/pages/button/" in url for url in window.requests) > fetched

    until(clicked, "A click fetches too")
    assert window.js("document.querySelector('#other').getAttribute('hx-trigger')") is None
    assert not any("?other" in url for url in window.requests)
    window.js("document.querySelector('main').remove()")
    until(lambda: _left(window, key), "The window leaves what is gone")


@pytest.mark.parametrize("query", ["", "?two"])
def test_htmx_fetches_few_fragments_of_an_actor_that_changes_all_the_time(
    packages: Path, visit: Any, site: Server, key: str, query: str
) -> None:
    """Four in a second at most; the last one has the last change. Also where each fetch replaces the element."""
    window = visit("extension", query)
    window.wait_for_text("#inner h1", "Untitled")
    window.wait_for_text("#outer", "Untitled")
    counted = len(window.requests)
    began = time.monotonic()
    with site.client() as other:
        for number in range(150):
            other.call("server.Board.rename", key=key, title=f"Plan {number}")
    window.wait_for_text("#inner h1", "Plan 149")
    window.wait_for_text("#outer", "Plan 149")
    most = 2 * (2 + (time.monotonic() - began) / 0.25)
    assert 2 <= len(window.requests) - counted <= most


@pytest.mark.parametrize("query", ["?slow", "?two&slow"])
def test_htmx_shows_also_what_changed_during_the_fetch_that_replaces_its_element(
    packages: Path, visit: Any, elsewhere: Any, query: str
) -> None:
    """What htmx has queued goes with the element."""
    window = visit("htmx", query)
    window.wait("performance.getEntriesByType('resource').some(({ name }) => name.includes('/fragment/'))")
    elsewhere("server.Board.rename", title="Plans")
    window.wait_for_text("#outer h2", "Plans", patience=5)


@pytest.mark.parametrize("query", ["", "?two"])
def test_htmx_may_come_later_than_the_first_state(packages: Path, visit: Any, query: str) -> None:
    """The fetch waits for it, and isn't lost."""
    window = visit("htmx", f"{query}{'&' if query else '?'}late")
    window.wait("import('lightmoon/client').then(({ client }) => client.state === 'open')")
    window.js(
        "import('lightmoon/client').then(({ actor }) => new Promise((resolve) => "
        "actor('server.Board', {})(location.pathname.split('/')[3]).subscribe((state) => state && resolve())))"
    )
    assert window.text("#inner") == "As it was"
    window.js("document.head.append(document.querySelector('#late').content.querySelector('script')), 0")
    window.wait_for_text("#inner h1", "Untitled")
    window.wait_for_text("#outer h2", "Untitled")


def test_htmx_fetches_again_what_could_not_be_fetched(packages: Path, visit: Any, elsewhere: Any) -> None:
    """A fetch that fails is made again; the fragment doesn't stay as it was."""
    window = visit("htmx")
    window.wait_for_text("#inner h1", "Untitled")
    window.send("Network.setBlockedURLs", {"urls": ["*/pages/fragment/*"]})
    elsewhere("server.Board.rename", title="Plans")
    window.wait_for_text("#outer h2", "Plans")
    window.wait("performance.getEntriesByType('resource').filter(e => e.name.includes('/fragment/')).length > 1")
    window.send("Network.setBlockedURLs", {"urls": []})
    window.wait_for_text("#inner h1", "Plans")
    assert all("ERR_BLOCKED" in one or "Failed to fetch" in one for one in window.troubles), window.troubles
    window.troubles.clear()
