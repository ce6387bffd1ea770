"""What nodes say to each other: one frame each, as MessagePack. Never pickled; links sign what carries them.

A call that belongs to an actor of another node travels as `Remote`, and ends with one of `Answer`, `Failure` and
`Bounce`. Calls are numbered by the node that sends them on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lightmoon_django import errors
from lightmoon_django.errors import LightMoonError
from lightmoon_django.identity import Position

MAX_PAYLOAD = 31 * 1024 * 1024  # bytes of arguments or of a result; links take frames that are a little larger


class Step(msgspec.Struct, array_like=True, frozen=True):
    """One turn of a chain of calls: the node it runs on, its number there, and its actor's address."""

    node: int
    turn: int
    actor: str
    key: str


class Remote(msgspec.Struct, tag="call", array_like=True, frozen=True, gc=False):
    """A call for an actor that the receiver owns, as far as the sender knows."""

    id: int
    actor: str
    key: str
    message: str
    payload: bytes
    form: str  # how arguments and result are encoded: "local", "wire" (a client's), "none" (nobody wants the result)
    seconds: float  # until its deadline, when it was sent
    caller: str | None
    user: str | None  # its key; empty for an anonymous one, None for nobody
    chain: tuple[Step, ...]
    identity: tuple[bytes, bytes] | None
    generation: int  # of the sender's route to this actor
    hops: int  # how often it was sent on
    mark: str | None = None  # for the turn's state patch


class Answer(msgspec.Struct, tag="answer", array_like=True, frozen=True, gc=False):
    """The call's result. `position`: epoch and seq that the stream's followers must have got before it."""

    id: int
    payload: bytes
    position: tuple[str, int] | None = None


class Failure(msgspec.Struct, tag="failure", array_like=True, frozen=True):
    """The call ended with an error."""

    id: int
    kind: str  # its class in `errors`
    message: str
    code: str
    detail: bytes  # what else its class carries, encoded
    position: tuple[str, int] | None = None  # as an answer's


class Bounce(msgspec.Struct, tag="bounce", array_like=True, frozen=True):
    """The receiver doesn't own that actor; the call did not run there. `owner`, if it knows who does."""

    id: int
    owner: int | None


class Cancel(msgspec.Struct, tag="cancel", array_like=True, frozen=True):
    """Take a call back."""

    id: int


class Follow(msgspec.Struct, tag="follow", array_like=True, frozen=True):
    """A session of the sender subscribes: answered like a call, and then the stream flows to the sender's node."""

    call: Remote
    since: tuple[str, int] | None  # epoch and seq of the last frame that the session has
    grouped: bool  # the sender had better get the stream as casts to its group
    hidden: tuple[str, ...] = ()  # events that the session may not see
    meta: dict[str, Any] | None = None  # what the session says of itself


class Unfollow(msgspec.Struct, tag="unfollow", array_like=True, frozen=True):
    """One subscriber has gone. An empty `subscriber`: the sender has none left, whatever the receiver thinks."""

    actor: str
    key: str
    subscriber: str
    user: str | None


class Described(msgspec.Struct, tag="described", array_like=True, frozen=True):
    """A subscriber says something else of itself than before."""

    actor: str
    key: str
    subscriber: str
    meta: dict[str, Any]


class Guarded(msgspec.Struct, tag="guarded", array_like=True, frozen=True):
    """A frame of a stream that only some subscribers may see; the others get `skip`, which has its position."""

    event: str
    frame: str
    skip: str


class Split(msgspec.Struct, tag="split", array_like=True, frozen=True):
    """One position of a stream that sessions see differently: `rest`, but those who are named another frame."""

    rest: str
    others: tuple[tuple[str, tuple[str, ...]], ...]  # a frame, and the sessions that get it


StreamFrame = str | Guarded | Split


class AccessChange(msgspec.Struct, tag="access", array_like=True, frozen=True):
    """What clients may do has changed: they are to be judged again. Nobody answers."""

    user: str | None  # the key of the user that it is about; None: anybody may be concerned
    logged_out: bool = False  # what that user's logins began is over
    login: str | None = None  # the fingerprint of the one that is over; None: all of the user's


class Streamed(msgspec.Struct, tag="streamed", array_like=True, frozen=True):
    """Frames of one actor's stream, in order, encoded for clients. By a link, or cast to a group."""

    actor: str
    key: str
    epoch: str
    first: int  # the number of the first of them
    frames: tuple[StreamFrame, ...]


class Aside(msgspec.Struct, tag="aside", array_like=True, frozen=True):
    """A notification to all who follow a stream that has no number. It comes behind the frame that has `seq`."""

    actor: str
    key: str
    epoch: str
    seq: int
    frame: str


class Positions(msgspec.Struct, tag="positions", array_like=True, frozen=True):
    """How far streams of the sender's have got whose frames are cast: actor, key, epoch, seq."""

    streams: tuple[tuple[str, str, str, int], ...]


class Lag(msgspec.Struct, tag="lag", array_like=True, frozen=True):
    """What the sender has of a stream. It is sent the frames that follow, if there are any."""

    actor: str
    key: str
    epoch: str
    seq: int


class Ended(msgspec.Struct, tag="ended", array_like=True, frozen=True):
    """A stream ended at its owner."""

    actor: str
    key: str
    reason: str


class Leaving(msgspec.Struct, tag="leaving", array_like=True, frozen=True):
    """The sender is stopping. What it has accepted has ended; it runs nothing else of the receiver's."""


class Hello(msgspec.Struct, tag="hello", array_like=True, frozen=True):
    """The sender has started. Whoever gets it looks for it in the table of nodes."""


class Due(msgspec.Struct, tag="due", array_like=True, frozen=True):
    """Reminders are due whose actors the receiver has: it had better look."""


class Draining(msgspec.Struct, tag="draining", array_like=True, frozen=True):
    """The sender is stopping: it takes no more actors."""


class Moving(msgspec.Struct, tag="moving", array_like=True, frozen=True):
    """The sender gives rows back, and what those actors remember of repeated calls follows: actor and key."""

    actors: tuple[tuple[str, str], ...]


Frame = (
    Remote
    | Answer
    | Failure
    | Bounce
    | Cancel
    | Follow
    | Unfollow
    | Described
    | Streamed
    | Aside
    | Positions
    | Lag
    | Ended
    | AccessChange
    | Leaving
    | Hello
    | Draining
    | Due
    | Moving
)


def size_of(frame: StreamFrame) -> int:
    """How many characters it has."""
    if isinstance(frame, Guarded):
        return len(frame.frame) + len(frame.skip)
    if isinstance(frame, Split):
        return len(frame.rest) + sum(len(one) for one, _ in frame.others)
    return len(frame)


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Frame).decode  # raises `msgspec.MsgspecError` for what is no frame


class _Followed(msgspec.Struct):
    epoch: str
    seq: int


_followed = msgspec.json.Decoder(_Followed)


def position_in(payload: bytes) -> Position:
    """Where a stream stood when its subscription was answered with that."""
    found = _followed.decode(payload)
    return Position(found.epoch, found.seq)


LONGEST_TEXT = 64 * 1024  # characters of an error's message; of a longer one the rest is left out

_CARRIED: tuple[tuple[type[LightMoonError], tuple[str, ...]], ...] = (
    (LightMoonError, ("retry_after", "path")),
    (errors.Rejected, ("data",)),
    (errors.DeadlockError, ("cycle",)),
    (errors.InternalError, ("error_id", "detail")),
)  # by these classes only: what a project's own calls so is its own business


def failure(id: int, error: LightMoonError, position: Position | None = None) -> Failure:
    """An error on its way to another node. A declared one arrives as the same class."""
    cls = type(error)
    kind = f"{cls.__module__}:{cls.__qualname__}"
    names = [name for one, carried in _CARRIED if isinstance(error, one) for name in carried]
    detail = {name: getattr(error, name) for name in names if getattr(error, name, None) is not None}
    message = (error.message if hasattr(error, "message") else str(error))[:LONGEST_TEXT]
    message = message.encode(errors="backslashreplace").decode()  # half a surrogate, as in a file's name, can't travel
    return Failure(id, kind, message, error.code, _packed(detail), position)


def _packed(detail: dict[str, Any]) -> bytes:
    try:
        packed: bytes = encode(detail)
    except (TypeError, ValueError, OverflowError, RecursionError):
        packed = b""
    if not packed or len(packed) > MAX_PAYLOAD:  # data of a declared error that can't travel
        detail.pop("data", None)
        packed = encode(detail)
    return packed


def error_of(found: Failure) -> LightMoonError:
    """The error as it was raised on the other node. Of a class that can't be made so, as the one it is made from."""
    carried = msgspec.msgpack.decode(found.detail)
    for cls in _error_class(found.kind).__mro__:
        try:
            return errors.revive(cls, found.message, found.code, carried)
        except Exception:  # of a project's own code
            continue
    raise AssertionError(found.kind)  # our own can be made


def _error_class(kind: str) -> type[LightMoonError]:
    """A class of errors that this process knows already; a declared one of a project is looked up by name."""
    module, _, name = kind.partition(":")
    for cls in _all_errors(LightMoonError):
        if cls.__module__ == module and cls.__qualname__ == name:
            return cls
    return errors.Rejected


def _all_errors(cls: type[LightMoonError]) -> list[type[LightMoonError]]:
    return [cls, *(found for one in cls.__subclasses__() for found in _all_errors(one))]
