"""Bare ASGI: the least that any application on this server costs.

`/echo` sends back what it got. `/follow` takes part in the fan-out, `/publish` sends its events to all followers in a
plain loop over their `send`.
"""

from __future__ import annotations

from typing import Any

from bench.project.memory import Receive, Send, with_memory

PADDING = "x" * 100  # the event's size

_followers: set[Send] = set()


async def echo(receive: Receive, send: Send) -> None:
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def follow(receive: Receive, send: Send) -> None:
    _followers.add(send)
    await send({"type": "websocket.send", "text": "ready"})
    try:
        while (await receive())["type"] == "websocket.receive":
            pass
    finally:
        _followers.discard(send)


async def publish(receive: Receive, send: Send) -> None:
    message = {"type": "websocket.send", "text": f'{{"event":"said","text":"{PADDING}"}}'}
    while (await receive())["type"] == "websocket.receive":
        for one in list(_followers):
            await one(message)


_paths = {"/echo": echo, "/follow": follow, "/publish": publish}


async def bare(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        raise NotImplementedError(scope["type"])
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    await _paths[scope["path"]](receive, send)


application = with_memory(bare)
