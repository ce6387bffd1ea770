"""The ASGI entry point: `application = lightmoon(get_asgi_application())`."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIHandler, get_script_prefix

PREFIX = "/lightmoon"


def lightmoon(app: Any, *, prefix: str = PREFIX) -> Any:
    """Serve LightMoon's endpoints ahead of `app`, which gets everything else.

    `<prefix>/ws` is the WebSocket and `<prefix>/rpc` the POST; `/sse` and `/poll` are for clients that can't have a
    WebSocket. All check the origin and know the user by Django's session cookie or a token, without middleware around
    them. A parked request costs no thread.

    The node starts with the server where that speaks ASGI's lifespan protocol, and with the first request or connection
    elsewhere: from then on reminders fire. With the server's end it stops, and hands its actors to other processes. An
    `app` that has a lifespan of its own gets those messages too.
    """
    from lightmoon_django.gateway import (  # needs the models, which `app` has set up by now
        farewell,
        http,
        lifespan,
        poll,
        sse,
        websocket,
    )
    from lightmoon_django.host import host

    routes = {
        ("websocket", f"{prefix}/ws"): websocket.serve,
        ("http", f"{prefix}/rpc"): http.serve,
        ("http", f"{prefix}/sse"): sse.serve,
        ("http", f"{prefix}/poll"): poll.serve,
    }

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan.serve(app, scope, receive, send)
            return
        if host.node is None:
            host.on_this_loop()
            if not lifespan.lives():
                farewell.prepare(lifespan.end)  # until there are clients to say it to
        serve = routes.get((scope["type"], _path(scope)), app)
        if serve is app and scope["type"] == "websocket" and isinstance(app, ASGIHandler):
            serve = _nowhere  # Django's own handler would fail with a traceback
        await serve(scope, receive, send)

    return application


async def _nowhere(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4404})


def _path(scope: Any) -> str:
    if scope["type"] not in ("http", "websocket"):
        return ""
    path: str = scope["path"]
    prefix = get_script_prefix(scope).rstrip("/")
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path
