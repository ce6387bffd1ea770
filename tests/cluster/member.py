"""A process that hosts the actors of `tests.live`, and does what lines of JSON on its standard input say.

`python -m tests.cluster.member`, with the settings in the environment. Each line is answered by a line of its own.
With MEMBER_PORT it also serves clients there (0: at any), under Uvicorn, and ends as a server does at SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import django

from lightmoon_django.errors import LightMoonError
from tests.cluster import machines


class Member:
    """What can be asked of the process."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._load: Any = None
        self._server: Any = None
        self._wires: dict[str, Any] = {}

    async def run(self) -> None:
        if "MEMBER_PORT" not in os.environ:
            await self._obey_all()
            return
        obeying = asyncio.get_running_loop().create_task(self._obey_all())
        await self._serve(int(os.environ["MEMBER_PORT"]))
        obeying.cancel()

    async def _obey_all(self) -> None:
        from lightmoon_django.host import host

        if "CALLER" in os.environ:
            host.anywhere()  # as a process without a server
        else:
            host.on_this_loop()
        reader = asyncio.StreamReader(limit=2**24)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while self._server is not None and not self._server.started:
            await asyncio.sleep(0.01)
        self._say({"n": 0, "ok": self._port})
        while line := await reader.readline():
            order = json.loads(line)
            task = loop.create_task(self._obey(order))
            self._tasks[order["n"]] = task

    @property
    def _port(self) -> int:
        return self._server.servers[0].sockets[0].getsockname()[1] if self._server is not None else 0

    async def _serve(self, port: int) -> None:
        import uvicorn

        config = uvicorn.Config(
            "tests.server.asgi:application", port=port, log_level="error", timeout_graceful_shutdown=10
        )
        self._server = uvicorn.Server(config)
        await self._server.serve()

    async def _obey(self, order: dict[str, Any]) -> None:
        number = order.pop("n")
        try:
            answer = {"n": number, "ok": await getattr(self, order.pop("do"))(**order)}
        except asyncio.CancelledError:
            answer = {"n": number, "error": {"kind": "CancelledError"}}
        except LightMoonError as error:
            kind = type(error).__name__
            answer = {"n": number, "error": {"kind": kind, "message": error.message, **error.as_rpc()["data"]}}
        except Exception as error:
            answer = {"n": number, "error": {"kind": type(error).__name__, "message": str(error)}}
        self._tasks.pop(number, None)
        self._say(answer)

    @staticmethod
    def _say(answer: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    @staticmethod
    def _ref(actor: str, key: str) -> Any:
        from lightmoon_django import ref
        from lightmoon_django.actor import registry

        schema = registry.by_name(actor)
        assert schema is not None
        return ref(schema.cls, key)

    # The orders

    async def ask(self, actor: str, key: str, message: str, args: list[Any], options: dict[str, Any]) -> Any:
        return await getattr(self._ref(actor, key), message).options(**options)(*args)

    async def ask_many(self, actor: str, key: str, message: str, args: list[Any], times: int) -> Any:
        """At once; the answers, or the kinds of the errors."""
        bound = getattr(self._ref(actor, key), message)
        found = await asyncio.gather(*(bound(*args) for _ in range(times)), return_exceptions=True)
        return [type(one).__name__ if isinstance(one, BaseException) else one for one in found]

    async def count_up(self, keys: list[str], seconds: float) -> Any:
        """Add to actors in turn until time is up; what was acknowledged, and what nobody knows, by key."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        told: dict[str, list[Any]] = {key: [0, 0, []] for key in keys}

        async def one(key: str) -> None:
            while loop.time() < until:
                try:
                    await self._ref("live.Tally", key).add.options(timeout=5)(1)
                    told[key][0] += 1
                except LightMoonError as error:
                    if type(error).__name__ == "OutcomeUnknown":
                        told[key][1] += 1
                    told[key][2].append(f"{type(error).__name__}: {error.message}")
                    await asyncio.sleep(0.01)

        await asyncio.gather(*(one(key) for key in keys))
        return told

    async def load(self, journal: str, seed: int, **what: Any) -> None:
        """Let clients count until `rest`, or until this process is told to stop."""
        from tests.cluster.load import Load

        self._load = Load(journal, seed, lambda: self._server.should_exit)
        self._load.start(**what)

    async def rest(self) -> None:
        await self._load.rest()

    async def write_down(self, actor: str, keys: list[str], tag: str, seconds: float) -> Any:
        """Tell and ask actors in turn to note numbers, until time is up: how many by key, errors, the longest wait."""
        loop = asyncio.get_running_loop()
        until, longest = loop.time() + seconds, 0.0
        errors: list[str] = []
        told = dict.fromkeys(keys, 0)

        async def one(key: str) -> None:
            nonlocal longest
            found = self._ref(actor, key)
            while loop.time() < until:
                began = loop.time()
                found.note.tell(f"{tag}{told[key]}")
                try:
                    await found.note(f"{tag}{told[key] + 1}")
                except LightMoonError as error:
                    errors.append(f"{type(error).__name__}: {error.message}")
                told[key] += 2
                longest = max(longest, loop.time() - began)
                await asyncio.sleep(0.1)

        await asyncio.gather(*(one(key) for key in keys))
        return {"told": told, "errors": errors, "longest": longest}

    async def move_away(self, actor: str, key: str) -> int:
        """Let an actor move in the middle of a turn, and tell it numbers all the while: how many."""
        from lightmoon_django.host import host
        from lightmoon_django.identity import Address

        node, found = host.node, self._ref(actor, key)
        assert node is not None
        turn = asyncio.ensure_future(found.slow(0.2))
        while (activation := node.find(Address(actor, key))) is None or activation.running is None:
            await asyncio.sleep(0.001)
        elsewhere: Any = node.elsewhere
        (target,) = elsewhere.peers.living()
        node.move(activation, target)
        told = 0
        until = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < until:
            found.note.tell(str(told))
            told += 1
            await asyncio.sleep(0.0005)
        await turn
        return told

    async def give_away(self, actor: str, key: str, blocked: float) -> None:
        """Let an actor move to the only other process; something blocks this one's loop as its row is given back."""
        from lightmoon_django.host import host
        from lightmoon_django.identity import Address

        node: Any = host.node
        (target,) = node.elsewhere.peers.living()
        node.move(node.find(Address(actor, key)), target)
        while not len(node.moves._leaving):
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # in which the others are told
        asyncio.get_running_loop().call_soon(time.sleep, blocked)

    async def ask_blocking(self, actor: str, key: str, message: str, args: list[Any]) -> Any:
        return await asyncio.to_thread(getattr(self._ref(actor, key), message).sync, *args)

    async def tell_in_order(self, actor: str, key: str, message: str, items: list[Any]) -> None:
        for item in items:
            getattr(self._ref(actor, key), message).tell(item)

    async def stop(self, grace: float) -> None:
        """Stop the node; the process stays."""
        from lightmoon_django.host import host

        await host.shut_down(grace)

    async def stopping(self) -> bool:
        from lightmoon_django.host import host

        return host.node is None or host.node.stopping

    async def cancel(self, number: int) -> None:
        self._tasks[number].cancel()

    async def log(self) -> Any:
        from tests.live.models import Probe

        return [one for one in Probe.log if isinstance(one, (int, str, tuple))]

    async def open(self, gate: str) -> None:
        from tests.live.models import Probe

        Probe.gate(gate).set()

    async def activate_slowly(self, seconds: float) -> None:
        from tests.live.models import Probe

        async def slowly(_: Any) -> None:
            await asyncio.sleep(seconds)

        Probe.activate = slowly

    async def has(self, actor: str, key: str) -> bool:
        from lightmoon_django.host import host
        from lightmoon_django.identity import Address

        assert host.node is not None
        return host.node.find(Address(actor, key)) is not None

    async def held(self, actor: str) -> Any:
        """The keys of that class's actors in memory."""
        from lightmoon_django.host import host

        assert host.node is not None
        return sorted(one.key for one in host.node.catalog if one.schema.name == actor)

    async def waiting(self, actor: str, key: str) -> int:
        """How many messages wait for that actor's turn to end."""
        from lightmoon_django.host import host
        from lightmoon_django.identity import Address

        assert host.node is not None
        found = host.node.find(Address(actor, key))
        return len(found.mailbox) if found is not None else 0

    async def alone(self) -> bool:
        """Whether it has all actors in memory only."""
        from lightmoon_django.host import host

        assert host.node is not None
        return host.node.alone

    async def places(self) -> int:
        """How many of them are claimed, by whomever."""
        from lightmoon_django.models import Place

        return await Place.objects.acount()

    async def known(self) -> int:
        """How many other processes it knows to be alive."""
        from lightmoon_django.host import host

        assert host.node is not None
        elsewhere: Any = host.node.elsewhere
        return len(elsewhere.peers.living())

    async def looked(self) -> bool:
        """Whether it has looked for other processes."""
        from lightmoon_django.host import host

        assert host.node is not None
        elsewhere: Any = host.node.elsewhere
        return bool(elsewhere.peers.looked)

    async def load_of_others(self) -> Any:
        """What each of them told of its load."""
        from lightmoon_django.host import host

        assert host.node is not None
        elsewhere: Any = host.node.elsewhere
        return [one.load for one in elsewhere.peers.living().values()]

    async def make(self, count: int) -> str:
        from tests.live.models import Tally

        return str((await Tally.objects.acreate(count=count)).pk)

    async def forget_message(self, actor: str, message: str) -> None:
        """As an older version of the project, which has no such message."""
        from lightmoon_django.actor import registry

        schema = registry.by_name(actor)
        assert schema is not None
        schema.messages.pop(message)

    async def idle(self) -> bool:
        """Whether nothing is on its way to a store."""
        from lightmoon_django.host import host

        assert host.node is not None
        return host.node.idle

    async def outgoing(self) -> Any:
        """The messages of durable tells that are stored."""
        from lightmoon_django.models import Outgoing

        return [message async for message in Outgoing.objects.values_list("message", flat=True)]

    async def make_alarm(self, seconds: float) -> str:
        """In the memory of this process, with a reminder in so many seconds."""
        from tests.live.timed import Alarm

        key = str((await Alarm.objects.acreate()).pk)
        await self._ref("live.Alarm", key).ring.after(seconds, key)
        return key

    # Clients of this process: WebSockets, without a network in between

    async def log_in(self, name: str) -> str:
        """A Django session of that user, who is made if need be."""
        from django.contrib.auth import get_user_model

        from tests.gateway.people import log_in

        user, _ = await get_user_model().objects.aget_or_create(username=name)
        return await asyncio.to_thread(log_in, user)

    async def alter_user(self, name: str, **values: Any) -> None:
        from django.contrib.auth import get_user_model

        user = await get_user_model().objects.aget(username=name)
        for field, value in values.items():
            setattr(user, field, value)
        await user.asave()

    async def log_out(self, name: str, cookie: str) -> None:
        from django.contrib.auth import get_user_model, logout
        from django.contrib.sessions.backends.db import SessionStore
        from django.http import HttpRequest

        request = HttpRequest()
        request.session = SessionStore(cookie)
        request.user = await get_user_model().objects.aget(username=name)
        await asyncio.to_thread(logout, request)

    async def dial(self, client: str, cookie: str | None = None) -> None:
        from tests.gateway.people import cookie as header
        from tests.gateway.wire import OWN, Wire

        self._wires[client] = Wire(headers=(OWN, *([header(cookie)] if cookie is not None else [])))
        await self._wires[client].__aenter__()

    async def call(self, client: str, method: str, params: Any) -> Any:
        return await self._wires[client].call(method, params)

    async def heard(self, client: str) -> Any:
        """All that came and was no answer."""
        return self._wires[client].frames

    async def hang_up(self, client: str) -> None:
        await self._wires.pop(client).disconnect()

    async def links(self) -> Any:
        from lightmoon_django.host import host

        assert host.node is not None
        elsewhere: Any = host.node.elsewhere
        return dict(elsewhere.network.stats().carriers)


if __name__ == "__main__":
    django.setup()
    machines.prepare()
    asyncio.run(Member().run())
