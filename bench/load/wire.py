"""As much of RFC 6455 as a client needs: the upgrade, masked text frames, and cutting what comes back."""

from __future__ import annotations

import struct

OPCODE_TEXT = 0x1
OPCODE_CLOSE = 0x8
OPCODE_PING = 0x9

# A mask of zeros is valid and leaves the payload as it is, so that a frame can be put together from fixed pieces.
# The server unmasks it like any other.
ZERO_MASK = b"\0\0\0\0"


def upgrade_request(host: str, port: int, path: str) -> bytes:
    """The opening handshake, without extensions, so that no server compresses."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame_head(length: int, opcode: int = OPCODE_TEXT) -> bytes:
    """Everything of a client's frame that precedes a payload of `length` bytes."""
    if length < 126:
        return struct.pack("!BB", 0x80 | opcode, 0x80 | length) + ZERO_MASK
    if length < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length) + ZERO_MASK
    return struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length) + ZERO_MASK


def frame(payload: bytes, opcode: int = OPCODE_TEXT) -> bytes:
    return frame_head(len(payload), opcode) + payload


def cut(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames at the start of `data` as (opcode, payload), and what is left over."""
    frames = []
    at, end = 0, len(data)
    while end - at >= 2:
        length, start = data[at + 1] & 0x7F, at + 2
        if length == 126:
            if end - at < 4:
                break
            length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif length == 127:
            if end - at < 10:
                break
            length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if end - start < length:
            break
        frames.append((data[at] & 0x0F, data[start : start + length]))
        at = start + length
    return frames, data[at:]
