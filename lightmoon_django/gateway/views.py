"""The HTTP door where Django's own handler stands before it, as under WSGI."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from lightmoon_django import testrun
from lightmoon_django.gateway import admission, http
from lightmoon_django.gateway.hub import hub_of


@csrf_exempt  # judged inside, for cookies only
def rpc(request: HttpRequest) -> HttpResponse:
    """`POST /lightmoon/rpc`: like the ASGI endpoint, blocking its thread while the node answers."""
    from lightmoon_django import host  # it wires this wing too

    node = host.host.anywhere()
    try:
        limit = node.settings.MAX_REQUEST_BYTES
        http.check(request.method, request.content_type or "", request.META.get("CONTENT_LENGTH", ""), limit)
        admission.refuse_foreign(request)
        body = _body(request, limit)
        visitor = admission.identify(request)
    except admission.Refusal as refusal:
        return HttpResponse(refusal.body, "application/json", refusal.status, headers=refusal.headers)

    async def converse() -> str | None:
        return await http.converse_once(http.Post(hub_of(host.switchboard()), request, visitor), body)

    answer = _wait(asyncio.run_coroutine_threadsafe(converse(), node.loop))
    headers = {"Cache-Control": "no-store"}
    if answer is None:
        return HttpResponse(status=204, headers=headers)
    return HttpResponse(answer, "application/json", headers=headers)


def _wait(answer: concurrent.futures.Future[str | None]) -> str | None:
    """Every call ends by its own deadline, so there is no other."""
    return testrun.wait(answer, threading.TIMEOUT_MAX) if testrun.active() else answer.result()


def _body(request: HttpRequest, limit: int) -> bytes:
    try:
        body = request.body
    except RequestDataTooBig:  # DATA_UPLOAD_MAX_MEMORY_SIZE is smaller
        raise http.too_large(limit) from None
    if len(body) > limit:
        raise http.too_large(limit)
    return body
