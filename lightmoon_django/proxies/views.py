"""The generated documents over HTTP."""

from __future__ import annotations

import hashlib

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import path, reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import condition, require_safe

from lightmoon_django.proxies import javascript, manifest, openrpc, typescript

FOREVER = 365 * 24 * 3600  # seconds


def proxies_url() -> str:
    """Where the current proxies are. Raises `NoReverseMatch` when the project's URLconf doesn't include LightMoon's."""
    return reverse("lightmoon:proxies", kwargs={"hash": javascript.module().hash})


@require_safe
def proxies(request: HttpRequest, hash: str) -> HttpResponse:
    """The JavaScript module. Its URL names its content; an outdated one leads to the current one."""
    module = javascript.module()
    response: HttpResponse
    if hash != module.hash:
        response = HttpResponseRedirect(proxies_url())
        patch_cache_control(response, no_cache=True)
    else:
        response = HttpResponse(module.source, content_type="text/javascript; charset=utf-8")
        patch_cache_control(response, public=True, max_age=FOREVER, immutable=True)
    response["X-Content-Type-Options"] = "nosniff"
    response["X-TypeScript-Types"] = reverse("lightmoon:types")  # Deno and editors look there
    return response


def _etag(request: HttpRequest) -> str:
    return f'"{manifest.schema_hash()}-{javascript.module().hash}"'  # the second changes with the documentation


@require_safe
@condition(etag_func=_etag)
def openrpc_document(request: HttpRequest) -> HttpResponse:
    """The OpenRPC document."""
    response = JsonResponse(openrpc.document(), json_dumps_params={"ensure_ascii": False})
    patch_cache_control(response, no_cache=True)
    return response


def _types_etag(request: HttpRequest) -> str:
    return f'"{hashlib.sha256(typescript.declarations().encode()).hexdigest()[:16]}"'


@require_safe
@condition(etag_func=_types_etag)
def types(request: HttpRequest) -> HttpResponse:
    """The TypeScript declarations of the current proxies."""
    response = HttpResponse(typescript.declarations(), content_type="application/typescript; charset=utf-8")
    patch_cache_control(response, no_cache=True)
    response["X-Content-Type-Options"] = "nosniff"
    return response


urlpatterns = [
    path("proxies.<slug:hash>.js", proxies, name="proxies"),
    path("proxies.d.ts", types, name="types"),
    path("openrpc.json", openrpc_document, name="openrpc"),
]
