"""`{% load lightmoon %}{% lightmoon_js %}`: live actors for the page's own modules."""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context

from lightmoon_django.proxies.page import page

register = template.Library()


@register.inclusion_tag("lightmoon/page.html", takes_context=True)
def lightmoon_js(context: Context, *extras: str, **options: Any) -> dict[str, Any]:
    """An import map, a JSON config and preload hints: nothing that executes inline.

    `extras` are modules to start besides: `{% lightmoon_js "bindings" %}` for pages that say in attributes what they
    show, "alpine" and "htmx" for those libraries' sake. `options` are those of the page's client:
    `{% lightmoon_js reload=True %}` loads the page again when the server has a newer schema.

    Put it into the head, before the first module script. Where a Content Security Policy hands out a nonce (Django's
    own middleware or django-csp), the elements carry it.
    """
    return {"page": page(*extras, **options), "nonce": _nonce(context)}


def _nonce(context: Context) -> str:
    """Reading a nonce makes it part of the response's policy, so it is read only here, where it is used."""
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(context.get("request"), "csp_nonce", None)
    return "" if nonce is None else str(nonce)
