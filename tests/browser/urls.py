"""Pages for the browser tests, beside LightMoon's own URLs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template import RequestContext, Template
from django.urls import include, path
from django.views.static import serve

from tests.server.models import Board

PAGES = Path(__file__).parent / "pages"
STRICT = "default-src 'none'; script-src 'self' 'nonce-n0nce'; connect-src 'self'; style-src 'self'; img-src data:"


def page(request: HttpRequest, name: str, key: str) -> HttpResponse:
    """One of the templates in `pages`, under a policy without evaluation or inline code unless it says otherwise."""
    template = Template((PAGES / f"{name}.html").read_text())
    board = Board.objects.filter(pk=key).first() or Board(pk=key)
    context: dict[str, Any] = {"key": key, "board": board}
    strict = "loose" not in request.GET
    if strict:
        context["csp_nonce"] = "n0nce"
    response = HttpResponse(template.render(RequestContext(request, context)))
    if strict:
        response["Content-Security-Policy"] = STRICT
    if "slow" in request.GET:
        time.sleep(0.7)  # on the way back: it tells of what was then
    return response


urlpatterns = [
    path("lightmoon/", include("lightmoon_django.urls")),
    path("pages/<str:name>/<str:key>/", page),
    path("npm/<path:path>", serve, {"document_root": os.environ.get("NODE_MODULES", "/nonexistent")}),
]
