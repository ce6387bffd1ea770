"""The panel that shows what the clients of a browser's pages do. It is there under DEBUG only."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import path
from django.views.decorators.http import require_safe

PANEL = "lightmoon_django/devtools/panel.js"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)


@require_safe
def devtools(request: HttpRequest) -> HttpResponse:
    """The page. It hears of the clients in the browser itself, so the server has nothing to tell it."""
    if not settings.DEBUG:
        raise Http404("LightMoon's panel is there under DEBUG only.")
    response = render(request, "lightmoon/devtools.html", {"panel": static(PANEL)})
    response.setdefault("Content-Security-Policy", POLICY)
    return response


urlpatterns = [path("devtools", devtools, name="devtools")]
