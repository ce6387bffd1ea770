"""JSON-RPC 2.0: from a frame to calls, and from answers to frames.

Everything happens in the reader of the connection, without a task or a thread per message. Only what must be judged
by the database first is awaited, and then the reader waits too, so that calls are posted in the order they came.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from lightmoon_django import codec
from lightmoon_django.codec import Envelope, Raw, UnsetType
from lightmoon_django.errors import InvalidRequest, LightMoonError, ParseError, TooLarge
from lightmoon_django.gateway import frames, methods, subscriptions
from lightmoon_django.gateway.batch import Batch
from lightmoon_django.gateway.limits import BATCH_LIMIT, check_request
from lightmoon_django.gateway.routes import structured

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import Sink
    from lightmoon_django.gateway.client import Client

_METHODS: dict[str, methods.Method] = {
    "lm.hello": methods.hello,
    "lm.ping": methods.ping,
    "lm.subscribe": subscriptions.subscribe,
    "lm.unsubscribe": subscriptions.unsubscribe,
    "lm.present": subscriptions.present,
    "rpc.discover": methods.discover,
    "$/cancelRequest": methods.cancel,
}


_FRONT = re.compile(r'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*("[\w.:/-]{1,100}"|-?\d{1,15})\s*,', re.ASCII)


def receive(client: Client, frame: str, sink: Sink) -> Awaitable[None] | None:
    """One frame from a client. What is returned must be awaited before the next frame is received. Never raises."""
    try:
        check_request(frame, client.hub.request_limit)
        envelope = codec.decode_envelope(frame)
    except InvalidRequest as error:
        return _receive_other(client, frame, sink, error)
    except ParseError as error:
        _refuse_unread(sink, _id_in_front(frame), error)
        return None
    except LightMoonError as error:
        _refuse_unread(sink, frames.NULL, error)
        return None
    return dispatch(client, envelope, sink)


def _receive_other(client: Client, frame: str, sink: Sink, error: InvalidRequest) -> Awaitable[None] | None:
    """JSON, but no request object: a batch, or nothing that can be answered well."""
    if not frame.lstrip(" \t\r\n").startswith("["):
        _refuse_unread(sink, _id_of(frame), error)
        return None
    try:
        items = codec.decode_items(frame)
        if not items:
            raise InvalidRequest("A batch has at least one message.")
        if len(items) > BATCH_LIMIT:
            raise TooLarge(f"A batch may have {BATCH_LIMIT} messages.")
    except LightMoonError as refusal:
        _refuse_unread(sink, frames.NULL, refusal)
        return None
    return _batch(client, items, sink)


def dispatch(client: Client, envelope: Envelope, sink: Sink) -> Awaitable[None] | None:
    """One message from a client; what is returned must be awaited before the next. Never raises."""
    request_id: str | None = None
    ident: str | float | None = None
    if not isinstance(envelope.id, UnsetType):
        try:
            ident = codec.decode_id(envelope.id)
        except InvalidRequest as error:
            _refuse_unread(sink, frames.NULL, error)
            return None
        request_id = bytes(envelope.id).decode()
    method = envelope.method
    if envelope.jsonrpc != "2.0" or isinstance(method, UnsetType):
        _refuse_malformed(envelope, request_id, sink)
        return None
    if request_id is not None:
        sink.expect()
    try:
        pending = _begin(client, method, sink, request_id, ident, envelope)
    except Exception as error:
        _refuse(error, sink, request_id)
        return None
    return None if pending is None else _watched(pending, sink, request_id)


def _begin(
    client: Client, method: str, sink: Sink, request_id: str | None, ident: str | float | None, envelope: Envelope
) -> Awaitable[None] | None:
    route = client.hub.routes.get(method)
    if route is None:
        own = _METHODS.get(method)
        if own is not None:
            return own(client, sink, request_id, ident, structured(envelope.params))
        if request_id is None and method.startswith("$/"):
            return None
        route = client.hub.find(method)
    return route.submit(client, sink, request_id, ident, envelope.params, envelope.mark)


async def _watched(pending: Awaitable[None], sink: Sink, request_id: str | None) -> None:
    try:
        await pending
    except Exception as error:
        _refuse(error, sink, request_id)


async def _batch(client: Client, items: list[Raw], sink: Sink) -> None:
    batch = Batch(sink, client.hub.response_limit)
    for item in items:
        client = client.now
        try:
            envelope = codec.decode_envelope(item)
        except LightMoonError as error:
            _refuse_unread(batch, _id_of(item), error)
            continue
        pending = dispatch(client, envelope, batch)
        if pending is not None:
            await pending
    batch.seal()


def _refuse(error: Exception, sink: Sink, request_id: str | None) -> None:
    """Answer with an error; a notification has none. What was not foreseen is logged."""
    known = error if isinstance(error, LightMoonError) else frames.internal(error)
    if request_id is not None:
        sink.answer(frames.failure(request_id, known))


def _refuse_unread(sink: Sink, request_id: str, error: LightMoonError) -> None:
    """Answer what was not a request, and so may have expected none."""
    sink.expect()
    sink.answer(frames.failure(request_id, error))


def _refuse_malformed(envelope: Envelope, request_id: str | None, sink: Sink) -> None:
    if isinstance(envelope.method, UnsetType) and not (
        isinstance(envelope.result, UnsetType) and isinstance(envelope.error, UnsetType)
    ):
        return  # an answer, to nothing that was asked; answering it could go on for ever
    missing = "method" if isinstance(envelope.method, UnsetType) else 'jsonrpc": "2.0'
    _refuse_unread(sink, request_id or frames.NULL, InvalidRequest(f'A request needs "{missing}".'))


def _id_in_front(frame: str) -> str:
    """The encoded id of something that can't be read, where clients put it; or null.

    Half a character in a text, or too deep an argument, is a mistake of a call that somebody waits for.
    """
    found = _FRONT.match(frame)
    return frames.NULL if found is None else found[1]


def _id_of(frame: str | Raw) -> str:
    """The encoded id of something that is almost a request, or null."""
    try:
        found = codec.decode_any(frame)
        return codec.encode_json(codec.decode_id(codec.encode_json(found["id"]))).decode()
    except (LightMoonError, LookupError, TypeError, ValueError):
        return frames.NULL
