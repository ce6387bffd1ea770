"""A client of one server: it comes back by itself, and keeps what is called and followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from lightmoon_django.client import connection as connections
from lightmoon_django.client.actor import Actor
from lightmoon_django.client.backoff import Backoff
from lightmoon_django.client.call import Call, notification
from lightmoon_django.client.calls import Calls
from lightmoon_django.client.connection import LOST, RENEWAL_ID, Connection, Where
from lightmoon_django.client.reading import Hinted
from lightmoon_django.client.ref import kind_of
from lightmoon_django.client.renewal import Renewal
from lightmoon_django.client.state import State
from lightmoon_django.client.stream import Stream
from lightmoon_django.errors import LightMoonError, OutcomeUnknown, ParseError, Unavailable, UpgradeNeeded
from lightmoon_django.identity import Address

T = TypeVar("T")

logger = logging.getLogger("lightmoon")

STABLE = 5.0  # seconds after which a connection counts as a success


def _ignore(result: Any) -> None:
    """Nobody waits for it."""


def _log_lost(error: LightMoonError) -> None:
    logger.warning("A tell was not sent, or failed: %s", error, extra={"action": "tell_failed"})


class Client:
    """Made by `connect`. Belongs to one event loop.

    Calls made while there is no connection wait for one. Calls that were sent when it broke are sent again when the
    server still has the session, which knows them by their ids; otherwise they raise `OutcomeUnknown`. Streams go on
    from their positions on each connection.
    """

    def __init__(
        self,
        where: Where,
        *,
        timeout: float,
        backoff: Backoff,
        on_state: Callable[[State], object] | None = None,
        on_recovered: Callable[[bool], object] | None = None,
        on_expired: Callable[[str], object] | None = None,
    ) -> None:
        self.backoff = backoff
        self._where = where
        self._timeout = timeout
        self._on_state = on_state
        self._on_recovered = on_recovered
        self._on_expired = on_expired
        self._state = State.CLOSED
        self._refusal: LightMoonError | None = None  # why calls fail at once
        self._connection: Connection | None = None
        self._session: str | None = None  # its token, which survives connections
        self._known = False  # the server had greeted before
        self._draining = False  # the server is about to close: nothing new is sent
        self._retry_after = 0.0  # seconds that the server asked for
        self._calls = Calls(timeout, self._leave_if_drained)
        self._streams: dict[Address, Stream] = {}  # those that are followed
        self._left: dict[Address, object] = {}  # those that the session may still follow, each with its last leaving
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._renewal = Renewal(self._renew_soon)
        self._renewing: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        return self._state

    async def __aenter__(self) -> Self:
        """Connect. Raises what the server refuses the connection with, or `Unavailable` after `timeout` seconds."""
        if self._task is not None:
            raise RuntimeError("A client is entered once; make another one.")
        self._first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self._timeout):
                await self._first
        except TimeoutError:
            await self.close()
            raise Unavailable(f"{self._where.url} did not answer within {self._timeout:g} seconds.") from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect for good. Calls fail, readers end."""
        if self._renewing is not None:
            self._renewing.cancel()
        self._stop(self._refusal or Unavailable("The client is closed."), quietly=True)
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(for_good=True)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def ref(self, actor: type[T], key: object) -> T:
        """The address of an actor of that class, typed as the class: `await client.ref(Room, 42).say("hi")`.

        Results are what the hints say. For a process that has the class, in a project that is set up. Raises
        `UsageError` otherwise, and `InvalidParams` for a key that isn't canonical.
        """
        kind = kind_of(actor)
        return cast(T, kind.ref(self, kind.canonical(key)))

    def actor(self, actor: str | type, key: object) -> Actor:
        """The proxy of an actor, by its wire name and its key: `client.actor("chat.Room", "42")`.

        By its class, `client.actor(Room, 42)`, its results, events and state are what the hints say.
        """
        if isinstance(actor, str):
            return Actor(self, Address(actor, str(key)))
        kind = kind_of(actor)
        return Actor(self, Address(kind.name, kind.canonical(key)), Hinted(self, kind))

    async def call(self, method: str, params: Any = None, *, call_id: str | None = None) -> Any:
        """Send a call by its wire name: `call("chat.Room.say", {"key": "42", "text": "hi"})`.

        Raises what the actor raised, or `OutcomeUnknown` when its answer is lost. Cancelling takes it back.
        """
        return await self._ask(method, params, call_id=call_id)

    async def _ask(self, method: str, params: Any, *, call_id: str | None = None, fleeting: bool = False) -> Any:
        future = asyncio.get_running_loop().create_future()

        def resolve(value: Any) -> None:
            if not future.done():
                future.set_result(value)

        def reject(error: LightMoonError) -> None:
            if not future.done():
                future.set_exception(error)

        call = self.request(method, params, resolve, reject, call_id=call_id, fleeting=fleeting)
        try:
            return await future
        except asyncio.CancelledError:
            call.abandon()
            raise

    async def tell(self, method: str, params: Any = None) -> None:
        """Send a notification. Raises `Unavailable` when there is no connection within `timeout` seconds."""
        frame = notification(method, params)
        while not self._usable:
            await self.call("lm.ping", {})  # waits for a connection, as calls do
        if self._connection is not None:
            self._connection.send(frame)
            await self._connection.room()

    def post(self, method: str, params: Any) -> None:
        """Like `tell`, without waiting, and in order with the calls around it. What comes to nothing is logged."""
        self.request(method, params, _ignore, _log_lost)

    # For streams

    def followed(self, address: Address) -> Stream | None:
        """The stream of an actor that somebody follows."""
        return self._streams.get(address)

    def stream(self, address: Address) -> Stream:
        """The stream of an actor: the one that is followed, or a new one that isn't yet."""
        return self._streams.get(address) or Stream(self, address)

    def follow(self, stream: Stream) -> None:
        """Join it now, or as soon as there is a connection."""
        if self._refusal is not None:
            stream.close(self._refusal)
            return
        self._streams[stream.address] = stream
        self._left.pop(stream.address, None)
        if self._usable:
            stream.join()

    def unfollow(self, stream: Stream) -> None:
        """Nobody listens any more. The server hears of it now, or when the session goes on."""
        self._streams.pop(stream.address, None)
        self._leave(stream.address)

    def _leave(self, address: Address) -> None:
        leaving = self._left[address] = object()

        def left(result: Any) -> None:
            if self._left.get(address) is leaving:
                del self._left[address]

        if self._usable:
            names = {"actor": address.actor, "key": address.key}
            self.request("lm.unsubscribe", names, left, _ignore, fleeting=True)

    def request(
        self,
        method: str,
        params: Any,
        resolve: Callable[[Any], object],
        reject: Callable[[LightMoonError], object],
        *,
        call_id: str | None = None,
        fleeting: bool = False,
    ) -> Call:
        """Like `call`, answered by `resolve` or `reject` before the next frame is read."""
        call = self._calls.new(method, {} if params is None else params, resolve, reject, id=call_id, fleeting=fleeting)
        if self._refusal is not None:
            call.fail(self._refusal)
        elif self._usable and self._connection is not None:
            call.send(self._connection)
        else:
            call.wait()
        return call

    async def ask(self, method: str, params: Any) -> Any:
        """Like `call`, on the connection there is and on no other. Raises `OutcomeUnknown` without one."""
        if not self._usable:
            raise OutcomeUnknown("There is no connection now.")
        return await self._ask(method, params, fleeting=True)

    @property
    def _usable(self) -> bool:
        return self._state is State.OPEN and not self._draining

    # Its life

    async def _run(self) -> None:
        """One connection after the other, until it is stopped."""
        try:
            while self._refusal is None:
                least = await self._attend()
                if self._refusal is None:
                    self._enter(State.WAITING)
                    await asyncio.sleep(self.backoff.next(least))
        except Exception as error:  # a mistake of ours must not leave calls waiting for ever
            self._stop(LightMoonError(f"The client failed: {type(error).__name__}: {error}"))
            raise

    async def _attend(self) -> float:
        """One connection from its dialling to its end. Answers the least seconds to wait before the next one."""
        self._enter(State.CONNECTING)
        try:
            connection = await connections.dial(self._where, self._session)
        except LOST:
            return 0.0
        except LightMoonError as error:
            return self._refused(error)
        began = asyncio.get_running_loop().time()
        try:
            self._opened(connection)
            async for message in connection.read():
                self._received(message)
        except ParseError:  # not our server, or a broken proxy
            pass
        finally:
            connection.abort()
            if asyncio.get_running_loop().time() - began > STABLE:
                self.backoff.reset()
            self._lost()
        least, self._retry_after = self._retry_after, 0.0
        return least

    def _refused(self, error: LightMoonError) -> float:
        """The handshake failed. A client that never was in, or is of another version, stops."""
        never_in = self._first is not None and not self._first.done()
        if isinstance(error, UpgradeNeeded) or (never_in and not error.retryable):
            self._stop(error)
        elif not error.retryable:
            self._calls.give_up(error)
        return error.retry_after or 0.0

    def _opened(self, connection: Connection) -> None:
        hello = connection.hello
        recovered = bool(hello.get("recovered"))
        self._connection = connection
        self._greeted(hello)
        self._draining = False
        self._state = State.OPEN
        known, self._known = self._known, True
        if not recovered:
            self._left.clear()
        for address in tuple(self._left):
            self._leave(address)
        for stream in tuple(self._streams.values()):
            stream.join()
        self._calls.connected(connection, recovered=recovered)
        self._tell_state()  # what is posted by who hears of it comes after what waited
        if known and self._on_recovered is not None:
            self._on_recovered(recovered)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _greeted(self, hello: Mapping[str, Any]) -> None:
        self._session = hello.get("session")
        if callable(self._where.token):
            self._renewal.after(hello.get("expires"))

    def _renew_soon(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        """Show another token. Without one this one ends in its time, and the next connection asks again."""
        connection = self._connection
        try:
            token = await connections.token_of(self._where)
        except (*LOST, LightMoonError):
            return
        if connection is not None and connection is self._connection and self._usable:
            connection.renew(self._where, token)

    def _renewed(self, message: Mapping[str, Any]) -> None:
        """One that is refused is no worse than the one that ends: the next connection asks for another."""
        if "error" not in message:
            self._greeted(message["result"])
        elif self._connection is not None:
            self._connection.abort()

    def _expired(self, params: Mapping[str, Any]) -> None:
        """Another connection may prove by another token who one is; streams go on there."""
        if self._on_expired is not None:
            self._on_expired(str(params.get("reason")))
        if callable(self._where.token) and self._connection is not None:
            self._connection.abort()

    def _received(self, message: Any) -> None:
        if isinstance(message, list):  # the answers of a batch
            for one in message:
                self._received(one)
            return
        method = message.get("method")
        if method is None and message.get("id", "") == RENEWAL_ID:
            self._renewed(message)
            return
        if method is None:
            self._calls.answer(message)
            return
        params = message.get("params") or {}
        if method == "lm.closing":
            self._closing(params)
        elif method == "lm.expired":
            self._expired(params)
        elif "actor" in params:
            stream = self._streams.get(Address(params["actor"], params["key"]))
            if stream is not None:
                stream.receive(method, params)

    def _closing(self, params: Mapping[str, Any]) -> None:
        self._draining = True
        self._retry_after = float(params.get("retry_after") or 0.0)
        self._leave_if_drained()

    def _leave_if_drained(self) -> None:
        """When the last answer is in, leave a server that is about to close."""
        if self._draining and self._connection is not None and not self._calls.under_way:
            self._connection.abort()

    def _lost(self) -> None:
        self._connection = None
        self._renewal.stop()
        self._draining = False
        for stream in tuple(self._streams.values()):
            stream.disconnected()
        self._calls.disconnected(resumable=self._session is not None)

    def _stop(self, error: LightMoonError, *, quietly: bool = False) -> None:
        self._refusal = error
        if self._first is not None and not self._first.done():
            self._first.set_exception(error)
        self._calls.give_up(error)
        for stream in tuple(self._streams.values()):
            stream.close(error, quietly=quietly)
        self._streams.clear()
        self._enter(State.CLOSED)

    def _enter(self, state: State) -> None:
        if self._state is not state:
            self._state = state
            self._tell_state()

    def _tell_state(self) -> None:
        if self._on_state is not None:
            self._on_state(self._state)
