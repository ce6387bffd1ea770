"""The template tag's output in a real browser, with static files under hashed names."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.template import Context, Template
from django.test import override_settings

from lightmoon_django.proxies import javascript, views
from lightmoon_django.proxies.page import MODULES
from tests.browser.chromium import Browser

STORAGE = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
PAGE = Template("<!doctype html><head><link rel=icon href=data:,>{% load lightmoon %}{% lightmoon_js %}</head>")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A page with the tag, the proxies and the collected files, served as they would be; gives the URL."""
    with override_settings(STATIC_ROOT=str(tmp_path / "static"), STORAGES=STORAGE):
        call_command("collectstatic", "--noinput", "--verbosity", "0")
        (tmp_path / "index.html").write_text(PAGE.render(Context({})))
    proxies = tmp_path / views.proxies_url().lstrip("/")
    proxies.parent.mkdir()
    proxies.write_text(javascript.module().source)
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_hashed_modules_are_loaded_once_each_and_never_by_their_plain_names(browser: Browser, site: str) -> None:
    """The import map leads also the imports between the modules to what is stored, and the preloads are all used."""
    window = browser.window(site)
    try:
        assert window.js("import('lightmoon').then(found => found.client.state)") == "closed"
        loaded = [url for url in set(window.requests) if "/static/" in url]
        assert len(loaded) == len(MODULES)
        assert all(re.search(r"/\w+\.[0-9a-f]{12}\.js$", url) for url in loaded), loaded
        same = "Promise.all([import('lightmoon'), import('lightmoon/client')]).then(([a, b]) => a.client === b.client)"
        assert window.js(same) is True
        assert window.troubles == []
    finally:
        window.close()
