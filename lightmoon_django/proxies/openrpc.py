"""The manifest as an OpenRPC document, for generators and tools of other languages."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from lightmoon_django.proxies import manifest as manifests
from lightmoon_django.proxies.manifest import Actor, Event, Manifest, Message, Value

OPENRPC = "1.3.2"

KEY = {"name": "key", "description": "Which actor.", "required": True, "schema": {"type": "string"}}


def document() -> dict[str, Any]:
    """The document that `rpc.discover` and `openrpc.json` answer with."""
    return _render(manifests.schema_hash())


@functools.lru_cache(maxsize=1)
def _render(version: str) -> dict[str, Any]:
    return render(manifests.manifest(), version)


def render(manifest: Manifest, version: str) -> dict[str, Any]:
    """The document of one manifest."""
    return {
        "openrpc": OPENRPC,
        "info": {"title": "LightMoon", "version": version},
        "methods": [_method(actor, message) for actor in manifest.actors for message in actor.messages],
        "components": {"schemas": manifest.definitions},
        "x-lightmoon-protocol": manifests.PROTOCOL,
        "x-lightmoon-events": [_event(actor, event) for actor in manifest.actors for event in actor.events],
        "x-lightmoon-state": {actor.wire_name: _object(actor.state) for actor in manifest.actors if actor.state},
    }


def _method(actor: Actor, message: Message) -> dict[str, Any]:
    return {
        "name": f"{actor.wire_name}.{message.name}",
        **_described(message.doc),
        "paramStructure": "either",
        "params": [KEY, *_params(message.parameters)],
        "result": {"name": "result", "schema": message.result},
    }


def _event(actor: Actor, event: Event) -> dict[str, Any]:
    return {"actor": actor.wire_name, "name": event.name, **_described(event.doc), "params": _params(event.data)}


def _params(values: Iterable[Value]) -> list[dict[str, Any]]:
    return [{"name": value.name, "required": value.required, "schema": value.schema} for value in values]


def _object(values: Sequence[Value]) -> dict[str, Any]:
    properties = {value.name: value.schema for value in values}
    return {"type": "object", "properties": properties, "required": [value.name for value in values if value.required]}


def _described(doc: str) -> dict[str, str]:
    """The first paragraph as summary, and all of it as description where there is more."""
    if not doc:
        return {}
    summary = " ".join(doc.partition("\n\n")[0].split())
    return {"summary": summary} if summary == doc else {"summary": summary, "description": doc}
