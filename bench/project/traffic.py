"""`GET /bench/traffic`: what the node has sent to others and got from them, counted."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from bench.project.memory import App, Receive, Send

PATH = "/bench/traffic"


def with_traffic(app: App) -> App:
    """`app`, which also answers that."""

    async def wrapped(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            return await app(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(_counted()).encode()})

    return wrapped


def _counted() -> dict[str, Any]:
    from lightmoon_django.host import host

    elsewhere: Any = host.node.elsewhere if host.node is not None else None
    return dataclasses.asdict(elsewhere.network.stats().traffic) if elsewhere is not None else {}
