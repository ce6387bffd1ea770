"""The scenario of tests/browser/javascript/scenario.js, from Python: the same steps, logged in the same way."""

from __future__ import annotations

import asyncio
from typing import Any

from lightmoon_django.client import Client, Event, connect
from lightmoon_django.client.events import Reader
from lightmoon_django.errors import LightMoonError

ACTOR = "server.Clicks"


class Logger(Reader[None]):
    """Writes down everything at the moment at which it comes."""

    def __init__(self, client: Client, key: str, log: list[Any]) -> None:
        self._log = log
        super().__init__(client.actor(ACTOR, key).events()._stream)

    def event(self, event: Event) -> None:
        self._log.append(["tick", event.data["number"], event.seq])

    def changed(self, state: dict[str, Any] | None) -> None:
        self._log.append(["state", state])

    def reset(self, reason: str, state: dict[str, Any] | None) -> None:
        self._log.append(["reset", reason, state])


def summary(error: LightMoonError) -> dict[str, Any]:
    data = getattr(error, "data", None)
    found = {
        "code": error.rpc_code,
        "type": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "data": data,
        "path": error.path,
    }
    return {name: value for name, value in found.items() if value is not None}


async def outcome(call: Any) -> Any:
    try:
        return await call
    except LightMoonError as error:
        return summary(error)


async def play(url: str, key: str) -> list[Any]:
    """What the client does and sees."""
    log: list[Any] = []
    async with connect(url, websocket={"proxy": None}) as client:
        clicks = client.actor(ACTOR, key)
        await clicks.subscribe()
        logger = Logger(client, key, log)
        log.append(["add", await clicks.add(n=5)])
        log.append(["burst", await clicks.burst(events=3)])
        log.append(["refuse", await outcome(clicks.refuse())])
        log.append(["add", await outcome(clicks.add(n="many"))])
        log.append(["long_text", await outcome(clicks.long_text(size=300_000))])
        log.append(["add", await outcome(clicks.add(n="x" * 150_000))])
        log.append(["hidden", await outcome(clicks.hidden())])
        log.append(["many", list(await asyncio.gather(*(clicks.add(n=1) for _ in range(20))))])
        log.append(["cancelled", await _cancelled(client, key)])
        log.append(["add", await clicks.add(n=1)])
        logger.close()
    return log


async def _cancelled(client: Client, key: str) -> Any:
    """What the server says of a call that is taken back."""
    said: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    call = client.request(
        f"{ACTOR}.sleep", {"key": key}, said.set_result, lambda error: said.set_result(summary(error))
    )
    await asyncio.sleep(0.1)
    call.abandon()
    return await said
