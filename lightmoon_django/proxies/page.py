"""What a page needs so that its own modules can say `import { chat } from "lightmoon"`.

Static files may be stored under hashed names, and most storages leave the imports inside modules alone. So the import
map also leads each module's plain URL, which is what a relative import comes to, to the stored one: a page never mixes
two versions, and no module is loaded twice.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from typing import Any

from django.conf import settings
from django.templatetags.static import static
from django.urls import NoReverseMatch
from django.utils.safestring import SafeString, mark_safe

from lightmoon_django.errors import UsageError
from lightmoon_django.proxies import javascript, manifest, views

FOLDER = "lightmoon_django"
ENTRY = "index.js"
MODULES = (
    ENTRY,
    "actor.js",
    "addresses.js",
    "backoff.js",
    "call.js",
    "client.js",
    "connection.js",
    "dialer.js",
    "emitter.js",
    "errors.js",
    "overlay.js",
    "page.js",
    "presence.js",
    "reload.js",
    "renewal.js",
    "state.js",
    "stream.js",
    "transports/http.js",
    "transports/ladder.js",
    "transports/poll.js",
    "transports/sse.js",
    "transports/upgrade.js",
    "transports/upstream.js",
    "transports/websocket.js",
    "wake.js",
)
"""What every page loads."""
EXTRAS = {
    "alpine": ("alpine.js", "address.js"),
    "bindings": (
        "bindings.js",
        "address.js",
        "elements.js",
        "bindings/calls.js",
        "bindings/events.js",
        "bindings/paths.js",
        "bindings/render.js",
    ),
    "devtools": ("devtools.js",),
    "htmx": ("htmx.js", "address.js", "elements.js"),
}
"""What a page may load besides, by the names it asks for; the first module is the one to import."""
UNDER_DEBUG = {"devtools"}  # left out elsewhere, so that a template may always ask for it

CONFIG_ID = "lightmoon-config"  # index.js looks for it
WEBSOCKET = "ws"  # beside the proxies: `lightmoon(app, prefix=…)` and the URLconf agree on the prefix

_ESCAPES = {ord("<"): "\\u003C", ord(">"): "\\u003E", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The parts of the tag's output; the texts are JSON, safe inside a script element."""

    import_map: SafeString
    config: SafeString
    config_id: str
    preloads: tuple[str, ...]
    scripts: tuple[str, ...]


def page(*extras: str, **options: Any) -> Page:
    """For the current script prefix and static storage.

    `extras` are modules that the page starts besides, `options` those of its client.

    Raises `UsageError` without LightMoon's URLs, and for an extra that there isn't.
    """
    proxies = _proxies_url()
    wanted = [name for extra in extras for name in _modules_of(extra)]
    extras = tuple(extra for extra in extras if settings.DEBUG or extra not in UNDER_DEBUG)
    stored = {name: static(f"{FOLDER}/{name}") for name in dict.fromkeys((*MODULES, *sum(EXTRAS.values(), ())))}
    named = {f"{javascript.PROXIES}/{name}": stored[modules[0]] for name, modules in EXTRAS.items()}
    imports = {javascript.PROXIES: proxies, javascript.RUNTIME: stored[ENTRY], **named, **_moved(stored)}
    url = posixpath.join(posixpath.dirname(proxies), WEBSOCKET)
    config = {"protocol": manifest.PROTOCOL, "schema": manifest.schema_hash(), "url": url, **options}
    return Page(
        import_map=_json({"imports": imports}),
        config=_json(config),
        config_id=CONFIG_ID,
        preloads=(*([] if extras else [proxies]), *(stored[name] for name in dict.fromkeys((*MODULES, *wanted)))),
        scripts=tuple(stored[EXTRAS[extra][0]] for extra in extras),
    )


def _modules_of(extra: str) -> tuple[str, ...]:
    try:
        return EXTRAS[extra]
    except KeyError:
        raise UsageError(f'{{% lightmoon_js %}} knows no "{extra}". There are: {", ".join(EXTRAS)}.') from None


def _proxies_url() -> str:
    try:
        return views.proxies_url()
    except NoReverseMatch as error:
        raise UsageError(
            "The page can't find LightMoon's proxies. "
            'Add path("lightmoon/", include("lightmoon_django.urls")) to the urlpatterns of your project.'
        ) from error


def _moved(stored: dict[str, str]) -> dict[str, str]:
    """From plain URLs to stored ones, where they differ. A relative import resolves beside the module that has it."""
    moved = {posixpath.join(posixpath.dirname(url), posixpath.basename(name)): url for name, url in stored.items()}
    return {plain: url for plain, url in moved.items() if plain != url}


def _json(value: Any) -> SafeString:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return mark_safe(text.translate(_ESCAPES))
