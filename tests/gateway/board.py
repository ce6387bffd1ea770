"""A small node: it runs handlers one at a time per actor and keeps subscribers, in memory and on the test's loop."""

from __future__ import annotations

import asyncio
import collections
from typing import Any

from lightmoon_django import codec
from lightmoon_django.actor.call import Call, Subscription
from lightmoon_django.clock import SystemClock
from lightmoon_django.conf import Settings
from lightmoon_django.errors import Cancelled, InternalError, LightMoonError
from lightmoon_django.identity import Address


class Board:
    """Implements `gateway.switchboard.Switchboard`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self.instances: dict[Address, Any] = {}
        self.subscribers: dict[Address, dict[str, Any]] = collections.defaultdict(dict)
        self.posted: list[Call] = []
        self.described: list[tuple[Address, str, Any]] = []
        self.hold = False  # keep calls queued
        self._queues: dict[Address, list[Call]] = collections.defaultdict(list)
        self._running: dict[Address, tuple[Call, asyncio.Task[None]]] = {}

    def post(self, call: Call) -> None:
        self.posted.append(call)
        self._queues[call.address].append(call)
        self._next(call.address)

    def cancel(self, call: Call) -> None:
        queue = self._queues[call.address]
        if call in queue:
            queue.remove(call)
            call.reject(Cancelled("The caller cancelled the call before it ran."))
            return
        running = self._running.get(call.address)
        if running is not None and running[0] is call:
            running[1].cancel()

    def unsubscribe(self, address: Address, subscriber: Any, user: Any) -> None:
        self.subscribers[address].pop(subscriber.id, None)

    def describe(self, address: Address, subscriber: Any, meta: Any) -> None:
        self.described.append((address, subscriber.id, meta))

    def release(self) -> None:
        """Run what was held."""
        self.hold = False
        for address in list(self._queues):
            self._next(address)

    def publish(self, actor: str, key: str, seq: int, text: str = "") -> None:
        """One event of a stream to everybody who follows it."""
        params = {"actor": actor, "key": key, "epoch": "e", "seq": seq, "name": "rung", "data": {"text": text}}
        frame = codec.encode_json({"jsonrpc": "2.0", "method": "lm.event", "params": params}).decode()
        for subscriber in tuple(self.subscribers[Address(actor, key)].values()):
            subscriber.push(frame)

    def end(self, actor: str, key: str, reason: str) -> None:
        """The stream ends."""
        address = Address(actor, key)
        for subscriber in self.subscribers.pop(address, {}).values():
            subscriber.reset(address, reason)

    def ran(self, name: str) -> int:
        """How many calls of that message were posted."""
        return sum(call.message.name == name for call in self.posted)

    def _next(self, address: Address) -> None:
        queue = self._queues[address]
        if queue and address not in self._running and not self.hold:
            call = queue.pop(0)
            self._running[address] = (call, asyncio.get_running_loop().create_task(self._run(call)))

    async def _run(self, call: Call) -> None:
        address = call.address
        try:
            payload = await self._answer(call)
        except asyncio.CancelledError:
            call.reject(Cancelled("The caller cancelled the call."))
        except LightMoonError as error:
            call.reject(error)
        except Exception:
            call.reject(InternalError())
        else:
            call.resolve(payload)
        finally:
            self._running.pop(address, None)
            self._next(address)

    async def _answer(self, call: Call) -> bytes:
        if isinstance(call, Subscription):
            self.subscribers[call.address][call.subscriber.id] = call.subscriber
            return b'{"epoch":"e","seq":0,"recovered":false,"state":null,"events":[]}'
        instance = self.instances.setdefault(call.address, call.schema.cls())
        return call.encode(await call.message.function(instance, *call.take_args()))
