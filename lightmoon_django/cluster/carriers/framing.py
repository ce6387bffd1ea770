"""Packets in a byte stream: four bytes of length, then the packet."""

from __future__ import annotations

from lightmoon_django.cluster.wire import MAX_PACKET

HEAD = 4  # bytes


class TooLong(Exception):
    """The stream announces a packet over the limit: it can't be followed any further."""


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(HEAD, "big") + packet


class Packets:
    """Cuts what arrives into packets."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = HEAD

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are complete with this. Raises `TooLong`."""
        if not self._rest:
            if len(data) >= HEAD and len(data) == HEAD + int.from_bytes(data[:HEAD], "big") <= HEAD + MAX_PACKET:
                return [data[HEAD:]]  # nearly always
        else:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data, self._rest = bytes(self._rest), bytearray()
        found, at = [], 0
        while len(data) - at >= HEAD:
            length = int.from_bytes(data[at : at + HEAD], "big")
            if length > MAX_PACKET:
                raise TooLong
            end = at + HEAD + length
            if end > len(data):
                self._needed = HEAD + length
                break
            found.append(data[at + HEAD : end])
            at = end
        else:
            self._needed = HEAD
        if at < len(data):
            self._rest += memoryview(data)[at:]
        return found
