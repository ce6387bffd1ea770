"""What travels between nodes: batches of frames, and casts to groups.

Msgpack and never pickle, because whoever can write to the carrier must not thereby run code here. What goes through a
channel layer is sealed with a key made from Django's SECRET_KEY, as a shared Redis is not trusted. Replaying a sealed
batch does nothing, since it names its sender, receiver, link and place in the link.

A connection that only its two ends can write to needs no seal on each batch: its opener proves once that it has the
secret, by sealing a challenge that is new each time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Annotated

import msgspec

MAX_PACKET = 1024 * 1024  # bytes; carriers announce smaller limits, so that a larger one is a mistake or an attack
TAG = 16  # bytes of the seal: HMAC-SHA256, truncated
CHALLENGE = 32  # bytes, random
PROOF = 32  # bytes: HMAC-SHA256
MAX_GROUP = 100  # characters of a group's name in the layer

MALFORMED = (msgspec.MsgspecError, RecursionError)

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Refused(Exception):
    """A packet that is dropped. `reason` is one of a few words, to be counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Batch(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Frames of one link in their order, and what the sender has of the other direction."""

    sender: Id
    receiver: Id
    link: Id  # the sender's end of the link: larger than that of any earlier start of it
    peer: Id  # the receiver's end, as far as the sender knows; 0 when it does not
    first: Id  # the sequence number of the first frame
    ack: Id  # every frame below it has arrived at the sender of this batch, if `peer` is right
    frames: list[bytes]
    more: list[int] = []  # positions of those that the next one continues


class Cast(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Bytes for all nodes of a group. It may get lost."""

    sender: Id
    group: Annotated[str, msgspec.Meta(max_length=MAX_GROUP)]
    data: bytes


class Wire:
    """Seals and opens. The first secret seals, all of them open: so a SECRET_KEY can be replaced node by node."""

    def __init__(self, secrets: Sequence[str | bytes]) -> None:
        if not secrets:
            raise ValueError("A link needs a secret to seal its frames with.")
        self._batch_keys = [_key(secret, b"batch") for secret in secrets]
        self._cast_keys = [_key(secret, b"cast") for secret in secrets]
        self._connection_keys = [_key(secret, b"connection") for secret in secrets]
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(Batch).decode  # raises one of `MALFORMED`
        self._casts = msgspec.msgpack.Decoder(Cast)

    def seal(self, message: Batch | Cast) -> bytes:
        """The packet for a carrier."""
        body = self.encode(message)
        keys = self._batch_keys if type(message) is Batch else self._cast_keys
        return _tag(keys[0], body) + body

    def open_batch(self, packet: object) -> Batch:
        """Raises `Refused` for everything that no node with one of the secrets has sealed as a batch."""
        return self.decode_batch(_opened(packet, self._batch_keys))

    def decode_batch(self, body: bytes | memoryview) -> Batch:
        """A batch without its seal, as `encode` makes it. Raises `Refused`."""
        try:
            return self.decode(body)
        except MALFORMED:
            raise Refused("malformed") from None

    def proof(self, challenge: bytes, place: str) -> bytes:
        """Shows that this process has the secret, to who has made the challenge and listens at that place."""
        return _proof(self._connection_keys[0], challenge, place)

    def proves(self, proof: bytes, challenge: bytes, place: str) -> bool:
        """Whether who answered the challenge has one of the secrets."""
        return any(hmac.compare_digest(proof, _proof(key, challenge, place)) for key in self._connection_keys)

    def open_cast(self, packet: object) -> Cast:
        """Likewise."""
        body = _opened(packet, self._cast_keys)
        try:
            return self._casts.decode(body)
        except MALFORMED:
            raise Refused("malformed") from None


def _key(secret: str | bytes, purpose: bytes) -> bytes:
    given = secret.encode() if isinstance(secret, str) else secret
    return hashlib.sha256(b"lightmoon link 1 " + purpose + b"\0" + given).digest()


def _tag(key: bytes, body: bytes | memoryview) -> bytes:
    return hmac.digest(key, body, "sha256")[:TAG]


def _proof(key: bytes, challenge: bytes, place: str) -> bytes:
    return hmac.digest(key, challenge + place.encode(), "sha256")


def _opened(packet: object, keys: Sequence[bytes]) -> memoryview:
    if not isinstance(packet, bytes) or len(packet) <= TAG:
        raise Refused("malformed")
    if len(packet) > MAX_PACKET:
        raise Refused("too large")
    body = memoryview(packet)[TAG:]
    for key in keys:
        if hmac.compare_digest(packet[:TAG], _tag(key, body)):
            return body
    raise Refused("forged")
