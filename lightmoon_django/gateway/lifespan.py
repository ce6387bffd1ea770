"""The server's own start and end, as ASGI tells them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.core.handlers.asgi import ASGIHandler

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Any], Awaitable[None]]

BEGINS = "lifespan.startup.complete"
ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


async def serve(app: Any, scope: Any, receive: Receive, send: Send) -> None:
    """Let the node live as long as the server. Django's own handler knows no lifespan; others hear all of it."""
    if isinstance(app, ASGIHandler):
        await _alone(receive, send)
        return

    async def sent(message: Any) -> None:
        if message["type"] == BEGINS:
            _start()
        elif message["type"] in ENDS:
            await _stop()
        await send(message)

    await app(scope, receive, sent)


async def _alone(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _start()
            await send({"type": BEGINS})
        elif message["type"] == "lifespan.shutdown":
            await _stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _start() -> None:
    from lightmoon_django.host import host

    host.on_this_loop()


async def _stop() -> None:
    from lightmoon_django.host import host

    await host.shut_down()
