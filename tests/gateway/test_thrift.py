from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect

from lightmoon_django.gateway.thrift import Queue, lighten


class TestQueue:
    async def test_items_come_in_order(self) -> None:
        queue = Queue()
        for number in range(3):
            queue.put_nowait(number)
        assert (queue.qsize(), queue.empty()) == (3, False)
        assert [await queue.get() for _ in range(3)] == [0, 1, 2]
        assert (queue.qsize(), queue.empty()) == (0, True)

    async def test_a_waiting_reader_is_woken(self) -> None:
        queue = Queue()
        reader = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        await queue.put("a")
        queue.put_nowait("b")
        assert await reader == "a"
        assert queue.get_nowait() == "b"

    async def test_a_reader_that_is_cancelled_loses_nothing(self) -> None:
        """Also when it was woken already."""
        queue = Queue()
        for item in ("first", "second"):
            reader = asyncio.create_task(queue.get())
            await asyncio.sleep(0)
            if item == "second":
                queue.put_nowait(item)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
        assert await queue.get() == "second"

    async def test_an_empty_queue_says_so(self) -> None:
        with pytest.raises(asyncio.QueueEmpty):
            Queue().get_nowait()


class TestLighten:
    def test_a_server_that_is_not_known_keeps_what_it_has(self) -> None:
        class Protocol:
            def __init__(self) -> None:
                self.queue: asyncio.Queue[str] = asyncio.Queue()

            async def receive(self) -> str:
                return await self.queue.get()

        protocol = Protocol()
        before = protocol.queue
        lighten(protocol.receive)
        lighten(lambda: None)
        assert protocol.queue is before

    async def test_nothing_is_lost_under_uvicorn(self) -> None:
        """What a client sent before the exchange comes first, in order; what it sends after that too; then its end."""
        taken: list[object] = []
        sent, over = asyncio.Event(), asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            await sent.wait()
            lighten(receive)
            assert type(receive.__self__.queue) is Queue
            while (message := await receive())["type"] == "websocket.receive":
                taken.append(message["text"])
                await send({"type": "websocket.send", "text": message["text"]})
            taken.append(message["code"])
            over.set()

        config = uvicorn.Config(application, port=0, ws="websockets-sansio", lifespan="off", log_level="warning")
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            async with connect(f"ws://127.0.0.1:{port}/") as client:
                for number in range(10):
                    await client.send(str(number))
                (protocol,) = server.server_state.connections
                async with asyncio.timeout(10):
                    while protocol.queue.empty():
                        await asyncio.sleep(0)
                sent.set()
                assert [await client.recv() for _ in range(10)] == [str(number) for number in range(10)]
                await client.send("later")
                assert await client.recv() == "later"
            async with asyncio.timeout(10):
                await over.wait()
        finally:
            await server.shutdown()
        assert taken == [*(str(number) for number in range(10)), "later", 1000]
