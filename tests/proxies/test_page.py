"""The template tag, and the documents over HTTP."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from django.core.management import call_command
from django.template import Context, Template
from django.test import Client, RequestFactory, override_settings
from django.urls import set_script_prefix
from django.utils.functional import SimpleLazyObject

from lightmoon_django.errors import UsageError
from lightmoon_django.proxies import javascript, manifest
from lightmoon_django.proxies.page import EXTRAS, MODULES

TAG = Template("{% load lightmoon %}{% lightmoon_js %}")
STATIC = Path(__file__).resolve().parents[2] / "lightmoon_django" / "static" / "lightmoon_django"


class Elements(HTMLParser):
    """All elements with their attributes and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {**dict(attrs), "text": ""}))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][1]["text"] += data

    def script(self, kind: str) -> Any:
        return next(json.loads(one["text"]) for _, one in self.found if one.get("type") == kind)


def render(**context: Any) -> Elements:
    return Elements(TAG.render(Context(context)))


def test_the_page_gets_an_import_map_and_a_config_and_nothing_that_executes_inline() -> None:
    page = render()
    imports = page.script("importmap")["imports"]
    assert imports["lightmoon"] == f"/lightmoon/proxies.{javascript.module().hash}.js"
    assert imports["lightmoon/client"] == "/static/lightmoon_django/index.js"
    config = page.script("application/json")
    assert config == {"protocol": 1, "schema": manifest.schema_hash(), "url": "/lightmoon/ws"}
    assert {one.get("type") for tag, one in page.found if tag == "script"} == {"importmap", "application/json"}


def test_every_module_of_the_runtime_is_known_to_the_page() -> None:
    """A new module must be preloaded and mapped too."""
    panel = {"devtools/panel.js", "devtools/view.js"}  # a page of its own
    known = {*panel, *MODULES, *(name for modules in EXTRAS.values() for name in modules)}
    assert sorted(known) == sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js"))
    preloaded = {one["href"] for tag, one in render().found if tag == "link"}
    assert {f"/static/lightmoon_django/{name}" for name in MODULES} < preloaded


def test_extras_are_started_by_scripts_and_known_by_name_without_being_loaded_else() -> None:
    page = Elements(Template('{% load lightmoon %}{% lightmoon_js "bindings" reload=True %}').render(Context({})))
    scripts = [one for tag, one in page.found if tag == "script" and one.get("type") == "module"]
    assert [one["src"] for one in scripts] == ["/static/lightmoon_django/bindings.js"]
    preloaded = {one["href"] for tag, one in page.found if tag == "link"}
    assert {f"/static/lightmoon_django/{name}" for name in EXTRAS["bindings"]} < preloaded
    assert page.script("application/json")["reload"] is True
    plain = render()
    assert not [one for tag, one in plain.found if tag == "script" and "src" in one]
    assert plain.script("importmap")["imports"]["lightmoon/htmx"] == "/static/lightmoon_django/htmx.js"
    assert "/static/lightmoon_django/htmx.js" not in {one["href"] for tag, one in plain.found if tag == "link"}


def test_an_extra_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r'no "binding"\. There are: alpine, bindings'):
        Template('{% load lightmoon %}{% lightmoon_js "binding" %}').render(Context({}))


def test_extras_load_nothing_that_the_page_does_not_know() -> None:
    """Each extra's list has all that its modules import, and no more than that and the runtime."""
    for modules in EXTRAS.values():
        reached, open_ones = set(), {modules[0]}
        while open_ones:
            name = open_ones.pop()
            reached.add(name)
            for found in re.findall(r'from "(\.{1,2}/[\w./]+)"', (STATIC / name).read_text()):
                open_ones |= {urljoin(f"/{name}", found).lstrip("/")} - reached
        assert set(modules) <= reached <= {*modules, *MODULES}


def test_the_nonce_of_the_policy_is_on_every_element() -> None:
    """As Django's context processor or as django-csp's request attribute gives it."""
    request = RequestFactory().get("/")
    request.csp_nonce = SimpleLazyObject(lambda: "from-request")  # type: ignore[attr-defined]
    for page, nonce in (
        (render(csp_nonce=SimpleLazyObject(lambda: "n0")), "n0"),
        (render(request=request), "from-request"),
    ):
        executable = [one for _, one in page.found if one.get("type") != "application/json"]
        assert {one["nonce"] for one in executable} == {nonce}


def test_without_a_policy_there_is_no_nonce() -> None:
    for context in ({}, {"csp_nonce": None}, {"request": RequestFactory().get("/")}):
        assert not any("nonce" in one for _, one in render(**context).found)


def test_a_script_prefix_is_respected() -> None:
    """FORCE_SCRIPT_NAME, or a server's root path."""
    set_script_prefix("/site/")
    try:
        page = render()
    finally:
        set_script_prefix("/")
    assert page.script("application/json")["url"] == "/site/lightmoon/ws"
    assert page.script("importmap")["imports"]["lightmoon"].startswith("/site/lightmoon/proxies.")


def test_what_stands_in_a_script_element_can_not_end_it() -> None:
    with override_settings(STATIC_URL="/a</script><b>&/"):
        html = TAG.render(Context({}))
    assert "</script><b>" not in re.sub(r'href="[^"]*"', "", html)
    assert Elements(html).script("importmap")["imports"]["lightmoon/client"].startswith("/a")


@pytest.mark.urls("tests.proxies.no_urls")
def test_a_project_that_forgot_the_urls_is_told_so() -> None:
    with pytest.raises(UsageError, match=r'include\("lightmoon_django.urls"\)'):
        render()


def test_hashed_static_files_lead_every_import_to_the_stored_module(tmp_path: Path) -> None:
    """ManifestStaticFilesStorage leaves imports inside modules alone: the import map translates them."""
    storage = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
    with override_settings(STATIC_ROOT=str(tmp_path), STORAGES=storage, DEBUG=False):
        call_command("collectstatic", "--noinput", "--verbosity", "0")
        imports = render().script("importmap")["imports"]
    entry = imports["lightmoon/client"]
    assert re.fullmatch(r"/static/lightmoon_django/index\.[0-9a-f]{12}\.js", entry)
    reached, open_ones = set(), {entry}
    while open_ones:
        url = open_ones.pop()
        reached.add(url)
        source = (tmp_path / url.removeprefix("/static/")).read_text()
        for name in re.findall(r'from "(\.{1,2}/[\w./]+)"', source):
            resolved = urljoin(url, name)
            open_ones |= {imports.get(resolved, resolved)} - reached
    assert len(reached) == len(MODULES), "each module once"
    assert all(re.search(r"\.[0-9a-f]{12}\.js$", url) for url in reached), "and none under its plain name"


def test_the_proxies_may_be_cached_for_ever_under_their_hash() -> None:
    module = javascript.module()
    response = Client().get(f"/lightmoon/proxies.{module.hash}.js")
    assert response.status_code == 200
    assert response.content.decode() == module.source
    assert response["Content-Type"] == "text/javascript; charset=utf-8"
    assert {"public", "immutable", "max-age=31536000"} == set(response["Cache-Control"].split(", "))
    assert "Cookie" not in response.get("Vary", "")


def test_an_outdated_proxies_url_leads_to_the_current_one() -> None:
    response = Client().get("/lightmoon/proxies.0123456789abcdef.js")
    assert response.status_code == 302
    assert response["Location"] == f"/lightmoon/proxies.{javascript.module().hash}.js"
    assert "no-cache" in response["Cache-Control"]


def test_the_openrpc_document_is_served_and_revalidated() -> None:
    response = Client().get("/lightmoon/openrpc.json")
    assert response["Content-Type"] == "application/json"
    assert response.json()["info"]["version"] == manifest.schema_hash()
    again = Client().get("/lightmoon/openrpc.json", headers={"if-none-match": response["ETag"]})
    assert again.status_code == 304
    assert Client().post("/lightmoon/openrpc.json").status_code == 405


def test_the_panel_is_there_under_debug_only() -> None:
    """So is what tells it anything."""
    template = Template('{% load lightmoon %}{% lightmoon_js "devtools" %}')
    assert Client().get("/lightmoon/devtools").status_code == 404
    assert 'devtools.js"></script>' not in template.render(Context({}))
    with override_settings(DEBUG=True):
        response = Client().get("/lightmoon/devtools")
        assert 'devtools.js"></script>' in template.render(Context({}))
    assert response.status_code == 200
    assert "default-src 'none'" in response["Content-Security-Policy"]
