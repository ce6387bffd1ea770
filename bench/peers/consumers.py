"""The best Channels consumer that can be written by hand.

Persistent connections (`CONN_MAX_AGE` None), a thread of its own for each call (`thread_sensitive=False`) from a pool
as large as the database likes, a row lock, and only the changed column written. For the fan-out `group_send` with a
text that is encoded once.
"""

from __future__ import annotations

import concurrent.futures
import json
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import connection, transaction

from bench.peers.bare import PADDING
from bench.peers.models import Counter

THREADS = {"postgresql": 8, "sqlite": 16}  # the fastest of 1, 4, 8, 16 and 32

_pool = concurrent.futures.ThreadPoolExecutor(THREADS[connection.vendor])


def add(key: str, n: int) -> int:
    with transaction.atomic():
        counter = Counter.objects.select_for_update().get(pk=key)
        counter.count += n
        counter.save(update_fields=["count"])
    return counter.count


_add = database_sync_to_async(add, thread_sensitive=False, executor=_pool)


class CounterConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        request = json.loads(text_data or "")
        count = await _add(request["params"]["key"], request["params"]["n"])
        await self.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": count}))


class FollowConsumer(AsyncWebsocketConsumer):
    groups = ["followers"]

    async def connect(self) -> None:
        await self.accept()
        await self.send("ready")

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])


class PublishConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        text = json.dumps({"event": "said", "text": PADDING})
        await self.channel_layer.group_send("followers", {"type": "said", "text": text})
