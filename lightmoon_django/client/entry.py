"""How a program begins: `async with connect(url) as client`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightmoon_django.client.backoff import BASE, CAP, Backoff
from lightmoon_django.client.client import Client
from lightmoon_django.client.connection import Token, Where
from lightmoon_django.client.state import State


def connect(
    url: str,
    *,
    token: Token | None = None,
    origin: str | None = None,
    headers: Mapping[str, str] | None = None,
    schema: str | None = None,
    ssl: Any = None,
    timeout: float = 30.0,
    backoff: tuple[float, float] = (BASE, CAP),
    on_state: Callable[[State], object] | None = None,
    on_recovered: Callable[[bool], object] | None = None,
    on_expired: Callable[[str], object] | None = None,
    websocket: Mapping[str, Any] | None = None,
) -> Client:
    """A client of `ws://…/lightmoon/ws`, to be entered: `async with connect(url) as client`.

    `token` is the value of an Authorization header, or a function that gives it, also asynchronously: for each
    connection, before a token ends, and when the server holds it for ended. `headers` may hold a cookie, which counts
    only with an `origin` that the server takes for its own. `schema` is the hash that the program was written for; a
    server with another one raises `UpgradeNeeded`.

    `timeout` is how many seconds a call waits for a connection, or for one that it can be sent again on; `backoff` the
    first and the longest delay between attempts, in seconds. `on_recovered` hears after each reconnect whether the
    server still had the session, `on_expired` why the server holds this client for nobody any more: its "session",
    "token" or "user" has ended. `websocket` goes to the library, `compression` and `proxy` for instance.
    """
    where = Where(
        url=url, token=token, origin=origin, headers=headers or {}, schema=schema, ssl=ssl, websocket=websocket or {}
    )
    return Client(
        where,
        timeout=timeout,
        backoff=Backoff(*backoff),
        on_state=on_state,
        on_recovered=on_recovered,
        on_expired=on_expired,
    )
