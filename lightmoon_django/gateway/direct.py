"""The direct way between a session and its socket, under the server that has one: Uvicorn's `websockets-sansio`.

ASGI brings a frame by way of a queue and the reader's task, and takes an answer by way of a coroutine. Where an
application was given that server's own `receive` and `send`, with nothing between, a frame is taken in the moment it
was read and an answer is written at once. What must wait for something goes the usual way, and so does all that comes
after it until it is done: the order stays. Handshake, pings, closing and flow control remain the server's, and where
it isn't recognised nothing changes but the speed.
"""

from __future__ import annotations

from typing import Any, Protocol

from lightmoon_django.gateway import rpc
from lightmoon_django.gateway.outbox import Outbox, Owner, Send
from lightmoon_django.gateway.session import Session
from lightmoon_django.gateway.transport import SANS_IO

_NEEDED = frozenset(
    {
        "close_sent",
        "conn",
        "curr_msg_data_type",
        "disconnected",
        "frames",
        "queue",
        "read_paused",
        "transport",
        "writable",
    }
)
_TAKE = "send_receive_event_to_app"  # what the protocol calls when a message is complete
_PENDING = "lightmoon.pending"


def protocol_of(receive: Any, send: Any) -> Any:
    """The server's protocol of an accepted connection; None if there is no direct way to it."""
    protocol = _owner(send)
    if _owner(receive) is not protocol or type(protocol).__module__ != SANS_IO:
        return None
    known = hasattr(protocol, _TAKE) and vars(protocol).keys() >= _NEEDED
    return protocol if known and protocol.conn.state.name == "OPEN" else None


def _owner(method: Any) -> Any:
    return getattr(method, "__self__", None)


class Door(Protocol):
    """What frames come in by."""

    session: Session
    close_code: int


class Inbox:
    """Takes frames as the server reads them, unless earlier ones still wait for their turn."""

    __slots__ = ("_door", "_protocol", "_waits")

    def __init__(self, protocol: Any, door: Door) -> None:
        self._protocol = protocol
        self._door = door
        self._waits = True  # until the reader has seen what came before
        setattr(protocol, _TAKE, self._take)

    def close(self) -> None:
        """From now on the server keeps what comes."""
        vars(self._protocol).pop(_TAKE, None)
        queue = self._protocol.queue
        for message in [queue.get_nowait() for _ in range(queue.qsize())]:
            if message["type"] == _PENDING:  # what it stands for has not begun, and never will
                message["pending"].close()
            else:
                queue.put_nowait(message)

    async def receive(self) -> Any:
        """The next message that could not be taken directly, as ASGI's `receive`."""
        while True:
            self._waits = not self._protocol.queue.empty()
            message = await self._protocol.receive()
            if message["type"] != _PENDING:
                return message
            await message["pending"]

    def _take(self) -> None:
        protocol, door = self._protocol, self._door
        if self._waits or door.close_code or protocol.close_sent or protocol.curr_msg_data_type != "text":
            self._leave()
            return
        frames = protocol.frames
        try:
            text = (frames[0] if len(frames) == 1 else b"".join(frames)).decode()
        except UnicodeDecodeError:  # the server knows how to end that
            self._leave()
            return
        protocol.frames = []
        session = door.session
        pending = rpc.receive(session, text, session)
        if pending is not None:
            self._waits = True
            protocol.queue.put_nowait({"type": _PENDING, "pending": pending})
            if not protocol.read_paused:  # as for any message that waits in the queue; `receive` resumes
                protocol.read_paused = True
                protocol.transport.pause_reading()

    def _leave(self) -> None:
        """Leave it to the server, which queues it for the reader."""
        self._waits = True
        getattr(type(self._protocol), _TAKE)(self._protocol)


class DirectOutbox(Outbox):
    """Writes to the socket itself as long as that takes what is written."""

    __slots__ = ("_conn", "_open", "_plain", "_protocol", "_writable")

    def __init__(self, send: Send, limit: int, owner: Owner, protocol: Any) -> None:
        super().__init__(send, limit, owner)
        self._protocol = protocol
        self._conn = protocol.conn
        self._open = protocol.conn.state
        self._writable = protocol.writable
        self._plain = not protocol.conn.extensions  # no compression was agreed upon

    def send(self, frame: str, droppable: bool = False) -> None:
        protocol, conn = self._protocol, self._conn
        if (
            self._task is not None
            or self.closed
            or conn.state is not self._open
            or protocol.disconnected
            or not self._writable.is_set()
        ):
            super().send(frame, droppable)
            return
        transport = protocol.transport
        if transport.is_closing():  # what is written now is lost without a word, until the protocol hears of it
            self.give_back(frame, droppable)
        elif self._plain:
            transport.write(_encoded(frame))
        else:
            conn.send_text(frame.encode())
            transport.write(b"".join(conn.data_to_send()))


_last_frame = ""
_last_encoded = b"\x81\x00"


def _encoded(frame: str) -> bytes:
    """An unmasked text frame (RFC 6455, section 5.2), shared by all clients that get the same one in a row."""
    global _last_frame, _last_encoded
    if frame is not _last_frame:
        data = frame.encode()
        size = len(data)
        if size < 126:
            head = bytes((0x81, size))
        elif size < 1 << 16:
            head = b"\x81\x7e" + size.to_bytes(2, "big")
        else:
            head = b"\x81\x7f" + size.to_bytes(8, "big")
        _last_encoded = head + data
        _last_frame = frame
    return _last_encoded
