"""The HTTP door where Django's own handler stands before it, as under WSGI."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from lightmoon_django import testrun
from lightmoon_django.gateway import admission, http
from lightmoon_django.gateway.hub import Hub, hub_of

T = TypeVar("T")


@csrf_exempt  # judged inside, for cookies only
def rpc(request: HttpRequest) -> HttpResponse:
    """`POST /lightmoon/rpc`: like the ASGI endpoint, blocking its thread while the node answers."""
    from lightmoon_django import host  # it wires this wing too

    node = host.host.anywhere()
    try:
        limit = node.settings.MAX_REQUEST_BYTES
        http.check(request.method, request.content_type or "", request.META.get("CONTENT_LENGTH", ""), limit)
        _on_loop(node.loop, request, http.unless_too_often)
        body = _body(request, limit)
        visitor = _visitor(node.loop, request)
    except admission.Refusal as refusal:
        return HttpResponse(refusal.body, "application/json", refusal.status, headers=refusal.headers)

    async def converse() -> str | None:
        return await http.converse_once(http.Post(hub_of(host.switchboard()), request, visitor), body)

    answer = _wait(asyncio.run_coroutine_threadsafe(converse(), node.loop))
    headers = {"Cache-Control": "no-store"}
    if answer is None:
        return HttpResponse(status=204, headers=headers)
    return HttpResponse(answer, "application/json", headers=headers)


def _visitor(loop: asyncio.AbstractEventLoop, request: HttpRequest) -> admission.Visitor:
    try:
        admission.refuse_foreign(request)
        return admission.identify(request)
    except admission.Refusal:
        _on_loop(loop, request, http.came_in_vain)
        raise


def _on_loop(loop: asyncio.AbstractEventLoop, request: HttpRequest, judge: Callable[[Hub, str], None]) -> None:
    """What addresses may is known to the node's loop alone."""
    from lightmoon_django import host

    async def judged() -> None:
        hub = hub_of(host.switchboard())
        judge(hub, hub.rates.address_in(request.META))

    _wait(asyncio.run_coroutine_threadsafe(judged(), loop))


def _wait(answer: concurrent.futures.Future[T]) -> T:
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
