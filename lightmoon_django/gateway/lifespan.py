"""The server's own start and end, as ASGI tells them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django.core.handlers.asgi import ASGIHandler

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Any], Awaitable[None]]

_lives = False  # the server speaks the protocol

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
            await end()
        await send(message)

    await app(scope, receive, sent)


async def _alone(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _start()
            await send({"type": BEGINS})
        elif message["type"] == "lifespan.shutdown":
            await end()
            await send({"type": "lifespan.shutdown.complete"})
            return


def lives() -> bool:
    """Whether the server will say when it ends. Daphne doesn't."""
    return _lives


def _start() -> None:
    global _lives
    from lightmoon_django.host import host

    _lives = True
    host.on_this_loop()


async def end() -> None:
    """The server ends: turns finish, actors go to other processes."""
    from lightmoon_django.host import host

    await host.shut_down()
