"""The private directory of sockets, and packets in a stream."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightmoon_django.cluster.carriers import sockets
from lightmoon_django.cluster.carriers.framing import Packets, TooLong, framed
from lightmoon_django.identity import new_incarnation


def test_the_directory_and_the_socket_are_private(directory: Path) -> None:
    made = sockets.private_directory(str(directory))
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert sockets.private_directory(str(directory)) == made
    path = sockets.socket_path(made, new_incarnation())
    assert len(bytes(path)) < 100
    with sockets.listen(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.mkdir(mode=0o755), lambda path: path.symlink_to("/tmp"), lambda path: path.touch(mode=0o600)],
    ids=["open to others", "a link", "a file"],
)
def test_a_directory_that_others_could_use_is_refused(directory: Path, spoil: Callable[[Path], None]) -> None:
    spoil(directory / f"lightmoon-{os.getuid()}")
    with pytest.raises(PermissionError, match="nobody else"):
        sockets.private_directory(str(directory))


def test_a_long_temporary_directory_is_not_used(directory: Path) -> None:
    deep = directory / ("d" * 90)
    deep.mkdir()
    assert len(bytes(sockets.socket_path(sockets.private_directory(str(deep)), 2**63 - 1))) < 100


def test_sockets_of_dead_processes_are_removed_and_others_stay(directory: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, silent = directory / f"1.{gone.pid}.sock", directory / f"2.{os.getpid()}.sock"
    elsewhere = directory / f"3.{gone.pid}.sock"  # of another container, where that pid lives
    for path in (dead, silent):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
            bound.bind(str(path))
    with sockets.listen(elsewhere):
        (directory / "note.txt").touch()
        sockets.remove_stale(directory)
    assert sorted(path.name for path in directory.iterdir()) == sorted([silent.name, elsewhere.name, "note.txt"])


@pytest.mark.parametrize("portion", [1, 2, 3, 5, 7, 1000])
def test_packets_are_found_however_the_stream_is_cut(portion: int) -> None:
    sent = [b"", b"a", b"bc" * 100, bytes(1000), b"end"]
    stream = b"".join(map(framed, sent))
    packets, found = Packets(), []
    for start in range(0, len(stream), portion):
        found += packets.feed(stream[start : start + portion])
    assert found == sent
    with pytest.raises(TooLong):
        packets.feed(b"\xff\xff\xff\xff")
