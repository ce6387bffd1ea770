"""Callers in other threads and other nodes, who may go away at any moment."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

from lightmoon_django.actor.call import Ask
from lightmoon_django.actor.ref import CallOptions
from lightmoon_django.host import host
from tests.runtime.conftest import PATIENCE, World, eventually, held_up


class Leaving(concurrent.futures.Future[bytes]):
    """Its caller's thread gives up right after it was seen waiting."""

    def done(self) -> bool:
        found = super().done()
        self.cancel()
        return found


async def test_a_caller_that_leaves_while_it_is_answered_holds_nobody_up(stored: World, monkeypatch: Any) -> None:
    """B26, B51: what was stored with it leaves, too."""
    actor = await stored.make()
    await actor.get()
    activation = stored.activation(actor)
    assert activation is not None
    told = held_up(monkeypatch, activation, "commit")
    message = activation.schema.messages["add"]
    payload = message.signature.bind((1,), {})
    call = host._prepare(Ask, stored.node, message, actor.key, payload, CallOptions())
    call.future = Leaving()
    stored.node.post(call)
    await eventually(lambda: len(activation.gate) == 1, "it is being stored")
    reading = asyncio.ensure_future(actor.get())
    await eventually(lambda: len(activation.gate) == 2, "the next one waits for it")
    told.set()
    assert await asyncio.wait_for(reading, PATIENCE / 2) == 1
