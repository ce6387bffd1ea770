"""The host: wires the wings together, once per process, and carries calls to the node from wherever they are made.

The node lives on the event loop that the ASGI wrapper first runs in. Where there is none (WSGI, Celery, the shell,
management commands) it gets a thread with a loop of its own, and hosts actors only while no other process does. It
starts lazily, with the first call or connection.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import close_old_connections, connections

from lightmoon_django import conf, interpreter, testrun
from lightmoon_django.actor.call import Ask, Call, Tell, Told
from lightmoon_django.actor.placement import CALLER
from lightmoon_django.actor.ref import CallOptions
from lightmoon_django.actor.repeat import identity
from lightmoon_django.actor.schema import ActorSchema, MessageSchema
from lightmoon_django.actor.turn import CALL_DEPTH, Turn, current, renew_lock
from lightmoon_django.clock import SystemClock
from lightmoon_django.conf import Settings
from lightmoon_django.errors import TooDeep, Unavailable, UsageError
from lightmoon_django.links import Links
from lightmoon_django.persistence import transactions
from lightmoon_django.runtime.node import Node
from lightmoon_django.runtime.switchboard import NodeSwitchboard
from lightmoon_django.runtime.workers import Workers, blocked
from lightmoon_django.storage import DatabaseStorage, RunnerStorage, unhosted

logger = logging.getLogger("lightmoon")

START_TIMEOUT = 30.0  # seconds for the node's thread to come up
LEAVE_GRACE = 3.0  # seconds that a process without a server may take to end
THREAD_GRACE = 5.0  # seconds that a stopped node's thread may take to end
ANSWER_GRACE = 5.0  # seconds past its deadline that a blocked thread waits for the loop to say so


class Host:
    """The one node of this process, and the ways to reach it. What is not async may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._node: Node | None = None
        self._storage: Any = None
        self._thread: threading.Thread | None = None
        self._end: Callable[[], object] = _nothing  # lets that thread end
        self.roles: tuple[str, ...] = ()  # of nodes that start from now on, instead of the setting's
        self._lent = False  # the node lives in the threads that tests lend it

    # The node's life

    @property
    def node(self) -> Node | None:
        return self._node

    def on_this_loop(self) -> Node:
        """The node, on the running loop if this process serves ASGI. A node started in a thread before hands over."""
        loop = asyncio.get_running_loop()
        with self._lock:
            node = self._node
            if testrun.active():
                return self.anywhere()
            if node is not None and node.loop is loop:
                return node
            self.stop()
            return self._start(loop)

    def anywhere(self) -> Node:
        """The node, in a thread of its own if there is none yet."""
        node = self._node
        if node is not None and self._lent == testrun.active():
            return node
        with self._lock:
            if self._node is not None and self._lent != testrun.active():
                self.stop()  # a test asked for real threads, or is over
            return self._node if self._node is not None else self._in_thread()

    def _in_thread(self) -> Node:
        ready: concurrent.futures.Future[Node] = concurrent.futures.Future()

        async def live() -> None:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            self._end = functools.partial(loop.call_soon_threadsafe, over.set)
            with testrun.lending_to(loop) if testrun.active() else contextlib.nullcontext():
                ready.set_result(self._start(loop))
                await over.wait()

        def run() -> None:
            try:
                asyncio.run(live())
            except BaseException as error:
                if not ready.done():
                    ready.set_exception(error)

        self._thread = threading.Thread(target=run, name="lightmoon-node", daemon=True)
        self._thread.start()
        return ready.result(START_TIMEOUT)

    def _start(self, loop: asyncio.AbstractEventLoop) -> Node:
        settings = conf.settings()
        roles = self.roles or settings.ROLES or ((CALLER,) if self._thread is not None else ())
        links = None if testrun.active() else Links(roles)
        storage: Any = (
            RunnerStorage(loop)
            if links is None
            else DatabaseStorage(loop, links.lost, links.endpoint, unhosted(roles), links.visible, links.accompanied)
        )
        workers: Any = (
            testrun.LentThread(loop.call_soon_threadsafe)
            if testrun.active()
            else Workers(
                settings.WORKER_THREADS, loop.call_soon_threadsafe, connections.close_all, close_old_connections
            )
        )
        self._storage = storage
        self._lent = testrun.active()
        interpreter.tune()
        self._node = Node(
            loop=loop,
            clock=testrun.equipment.clock or SystemClock(),
            settings=settings,
            lease=storage.lease,
            storage=storage,
            workers=workers,
            tidy=close_old_connections,
            debug=django_settings.DEBUG,
            verify_after=0.0 if testrun.active() else 1.0,
        )
        if links is not None:
            links.open(self._node, storage)
            if self._node.elsewhere is not None:
                storage.open_directory()
            self._node.reminders.start()
        self._node.ticking = not (testrun.active() and isinstance(self._node.clock, SystemClock))
        self._node.observers.extend(testrun.equipment.observers)
        return self._node

    def stop(self, grace: float = 10.0) -> None:
        """Stop the node from outside its loop: turns finish, rows are given back. Without a node, nothing happens."""
        with self._lock:
            node, self._node = self._node, None
            if node is None or node.loop.is_closed():
                return
            if self._lent:
                grace = 0.0  # nobody lends it a thread any more; its transaction is rolled back anyway
            done = asyncio.run_coroutine_threadsafe(node.stop(grace), node.loop)
            try:
                done.result(grace + ANSWER_GRACE)
            except concurrent.futures.TimeoutError:
                logger.warning("The node did not stop in time.", extra={"action": "stop_timeout"})
            self._end_thread()

    def _end_thread(self) -> None:
        thread, self._thread = self._thread, None
        end, self._end = self._end, _nothing
        end()
        if thread is not None and thread is not threading.current_thread():
            thread.join(THREAD_GRACE)

    def leave(self) -> None:
        """The process ends, and nobody stops its node: what was told leaves, and its actors go to others."""
        if self._thread is not None and not self._lent:
            self.stop(LEAVE_GRACE)

    async def shut_down(self, grace: float = 10.0) -> None:
        """Stop the node, from its own loop or another one."""
        node = self._node
        if node is not None and node.loop is not asyncio.get_running_loop():
            await asyncio.to_thread(self.stop, grace)
        elif node is not None:
            await node.stop(grace)  # meanwhile calls still go to it, and it hands them on
            self._node = None if self._node is node else self._node

    def drop(self) -> None:
        """In a forked child: forget the parent's node without touching what it shares with the parent."""
        self._lock = threading.RLock()
        renew_lock()
        self._node = self._storage = self._thread = None
        self._end = _nothing

    # Calls from Python

    async def ask(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> bytes:
        node = self.anywhere()
        if self._lent and current() is None:
            await sync_to_async(testrun.note_transactions, thread_sensitive=True)()
        call = self._prepare(Ask, node, message, key, payload, options)
        if call.origin is None:
            return await self._ask(node, call)
        with _waiting_for(call):
            return await self._ask(node, call)

    async def _ask(self, node: Node, call: Ask) -> bytes:
        loop = asyncio.get_running_loop()
        if loop is node.loop:
            call.future = loop.create_future()
            node.send(call)
            try:
                return await call.future
            except asyncio.CancelledError:
                node.cancel(call)
                raise
        waiting: concurrent.futures.Future[bytes] = concurrent.futures.Future()
        call.future = waiting
        node.loop.call_soon_threadsafe(node.send, call)
        try:
            if testrun.active():
                return await testrun.wait_async(waiting)
            return await asyncio.wrap_future(waiting)
        except asyncio.CancelledError:
            node.loop.call_soon_threadsafe(node.cancel, call)
            raise

    def ask_blocking(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> bytes:
        _refuse_on_a_loop(message)
        turn = current()
        transactions.refuse_open(message.wire_name, inside_turn=turn is not None, allowed=options.in_transaction)
        node = self.anywhere()
        if testrun.active():
            testrun.note_transactions()
        call = self._prepare(Ask, node, message, key, payload, options)
        waiting: concurrent.futures.Future[bytes] = concurrent.futures.Future()
        call.future = waiting
        with _waiting_for(call), blocked():
            node.loop.call_soon_threadsafe(node.send, call)
            return self._wait(waiting, call, node)

    def _wait(self, waiting: concurrent.futures.Future[bytes], call: Ask, node: Node) -> bytes:
        limit = max(0.0, call.deadline - node.clock.monotonic()) + ANSWER_GRACE
        try:
            return testrun.wait(waiting, limit) if testrun.active() else waiting.result(limit)
        except concurrent.futures.TimeoutError:
            raise Unavailable("The node's event loop does not answer. Is something blocking it?") from None

    def tell(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> None:
        turn = current()
        node = self.anywhere()
        call = self._prepare(Tell if turn is None else Told, node, message, key, payload, options)
        call.chain = ()
        call.origin = None
        if turn is not None:
            call.deadline = node.clock.monotonic() + _timeout(node.settings, message, options)
            if message.options.once and turn.activation.store is not None:
                call = node.outgoing.store(turn, call)
            turn.tells = [*(turn.tells or ()), call]
        else:
            if testrun.active():
                testrun.note_transactions()
            transactions.after_commit(lambda: _post(node, call))

    def ask_or_tell(self, message: MessageSchema, key: str, payload: bytes, options: CallOptions) -> None:
        if transactions.open_connection() is not None and not options.in_transaction:
            self.tell(message, key, payload, options)
        else:
            self.ask_blocking(message, key, payload, options)

    def _prepare(
        self,
        kind: Callable[..., Any],
        node: Node,
        message: MessageSchema,
        key: str,
        payload: bytes,
        options: CallOptions,
    ) -> Any:
        """The call with fresh arguments, and what it inherits from the turn that makes it."""
        args = message.signature.arguments.from_local(payload)
        deadline = node.clock.monotonic() + _timeout(node.settings, message, options)
        turn: Turn | None = current()
        if turn is None:
            call = kind(message, key, args, payload, deadline)
        elif len(turn.call.chain) >= CALL_DEPTH:
            raise TooDeep(f"Calls are nested {CALL_DEPTH} deep. Does {message.wire_name} call itself without an end?")
        else:
            call = kind(
                message,
                key,
                args,
                payload,
                min(deadline, turn.call.deadline),
                caller=str(turn.call.address),
                user=turn.call.user,
                chain=(*turn.call.chain, turn),
                origin=turn,
            )
        if options.call_id is not None:
            call.identity = identity(options.call_id, "", message.wire_name, key, payload)
        return call

    def evict(self, schema: ActorSchema, key: str) -> None:
        """Somebody outside wrote that row and committed."""
        node = self._node
        if node is not None and not node.loop.is_closed():
            node.loop.call_soon_threadsafe(node.evict, schema, key)


def _nothing() -> None:
    pass


def _post(node: Node, call: Call) -> None:
    """Post from any thread; on the node's own loop at once, so that a tell stays ahead of the ask that follows it."""
    if asyncio._get_running_loop() is node.loop:
        node.post(call)
    else:
        node.loop.call_soon_threadsafe(node.post, call)


@contextlib.contextmanager
def _waiting_for(call: Ask) -> Iterator[None]:
    """Meanwhile the asking turn waits for that call."""
    turn = call.origin
    if turn is None:
        yield
        return
    turn.suspended = True
    turn.waiting = [*(turn.waiting or ()), call]
    try:
        yield
    finally:
        turn.waiting = [one for one in turn.waiting or () if one is not call] or None


def _timeout(settings: Settings, message: MessageSchema, options: CallOptions) -> float:
    return options.timeout or message.timeout or settings.CALL_TIMEOUT


def _refuse_on_a_loop(message: MessageSchema) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        f"{message.wire_name}.sync() would block the event loop that this code runs on. Await the message instead."
    )


host = Host()
os.register_at_fork(after_in_child=host.drop)
interpreter.before_exit(host.leave)


def switchboard() -> NodeSwitchboard:
    """The node on the running loop, started if need be. Called by the gateway when a connection opens."""
    node = host.on_this_loop()
    found: NodeSwitchboard | None = getattr(node, "switchboard", None)
    if found is None:
        found = node.switchboard = NodeSwitchboard(node)  # type: ignore[attr-defined]
    return found
