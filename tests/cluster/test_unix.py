"""Unix sockets between real processes (design §8, §9.19)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lightmoon_django.cluster.carriers import sockets
from lightmoon_django.cluster.carriers.framing import Packets, TooLong, framed
from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.sendwindow import WINDOW, LinkFull
from lightmoon_django.cluster.wire import MAX_PACKET, Batch, Wire
from lightmoon_django.identity import Endpoint, new_incarnation
from tests.cluster.world import HOST, SECRET, Node, World, numbered, over_unix, until

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest_asyncio.fixture
async def world(directory: Path) -> AsyncIterator[World]:
    found = over_unix(directory)
    yield found
    await found.stop()


class Children:
    """Processes with a node each, which send everything back."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[str]] = []

    def start(self, world: World, parent: Node) -> tuple[int, subprocess.Popen[str]]:
        incarnation = new_incarnation()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.cluster.child", str(self._directory), str(incarnation)),
                *(str(parent.incarnation), world.endpoints[parent.incarnation].socket),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        path = self._directory / f"{incarnation:016x}.{process.pid}.sock"
        world.endpoints[incarnation] = Endpoint(HOST, str(path))
        return incarnation, process

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def children(directory: Path) -> Iterator[Children]:
    found = Children(directory)
    yield found
    found.stop()


async def test_a_killed_process_has_what_was_not_given_back(world: World, children: Children) -> None:
    """A frame that came back did arrive; of the others, those that may not have are given back when it is forgotten."""
    node = await world.node()
    incarnation, process = children.start(world, node)
    sent = numbered(b"", 2000)
    for number, frame in enumerate(sent):
        node.network.send(incarnation, frame)
        if number % 20 == 0:
            await asyncio.sleep(0)
        if number == 1000:
            await until(lambda: len(node.received) > 100, lambda: f"{len(node.received)} came back")
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    await until(lambda: node.network.stats().carriers == {"": 1}, lambda: str(node.network.stats()))
    back = node.network.forget(incarnation)
    assert node.frames == sent[: len(node.frames)]
    assert len(node.frames) > 100
    assert back == sent[len(sent) - len(back) :]
    assert len(node.frames) + len(back) <= len(sent) + 1000
    assert set(node.frames) | set(back) >= set(sent[1001:])


async def test_the_next_process_is_another_link(world: World, children: Children) -> None:
    node = await world.node()
    for _ in range(2):
        incarnation, process = children.start(world, node)
        node.received.clear()
        node.network.send(incarnation, b"hello")
        await node.expect([b"hello"])
        process.kill()
        process.wait()
        node.network.forget(incarnation)


async def test_a_process_that_stops_reading_fills_its_link_and_then_gets_everything(
    world: World, children: Children
) -> None:
    node = await world.node()
    incarnation, process = children.start(world, node)
    node.network.send(incarnation, b"hello")
    await node.expect([b"hello"])
    node.received.clear()
    os.kill(process.pid, signal.SIGSTOP)
    sent: list[bytes] = []
    with pytest.raises(LinkFull):  # noqa: PT012
        for number in range(1000):
            frame = b"%d" % number + b"." * 20_000
            node.network.send(incarnation, frame)
            sent.append(frame)
            await asyncio.sleep(0)
    assert node.network.stats().held <= WINDOW + 21_000
    os.kill(process.pid, signal.SIGCONT)
    await node.expect(sent)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="There is no fork here.")
async def test_a_forked_child_neither_touches_nor_keeps_its_parent_s_links(world: World, directory: Path) -> None:
    """B78: with a copy of the connections, the child would hide its parent's end from everybody."""
    left, right = await world.node(), await world.node()
    left.network.send(right.incarnation, b"before")
    right.network.send(left.incarnation, b"before")
    await right.expect([b"before"])
    await left.expect([b"before"])
    from_child, to_parent = os.pipe()
    from_parent, to_child = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(to_parent, _in_the_child(left, right, directory).encode()[:4000])
        os.read(from_parent, 1)
        os._exit(0)
    try:
        assert os.read(from_child, 4000) == b"good"
        left.network.send(right.incarnation, b"after")
        await right.expect([b"before", b"after"])
        carrier = right.network._carriers[0]
        assert isinstance(carrier, UnixCarrier)
        await left.network.stop()  # while the child still runs
        await until(lambda: not carrier._incoming, lambda: "The other end still takes the connection for open.")
    finally:
        os.write(to_child, b"x")
        os.waitpid(pid, 0)
        for fd in (from_child, to_parent, from_parent, to_child):
            os.close(fd)


def _in_the_child(left: Node, right: Node, directory: Path) -> str:
    try:
        for node in (left, right):
            try:
                node.network.send(right.incarnation + left.incarnation - node.incarnation, b"from the child")
            except LinkClosed:
                pass
            else:
                return "The child can send."
            if node.network.forget(left.incarnation):
                return "The child can forget."
            stopping = node.network.stop()
            try:
                stopping.send(None)
            except StopIteration as stopped:
                if stopped.value:
                    return "The child got frames."
            else:
                return "The child waits for the parent's links."
        kept = [fd for fd in range(3, 256) if _is_socket_in(directory, fd)]
        return f"The child kept {kept}" if kept else "good"
    except BaseException as error:
        return repr(error)


def _is_socket_in(directory: Path, fd: int) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return False
        with socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM) as found:
            return str(directory) in f"{found.getsockname()!r}"
    except OSError:
        return False


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


async def test_a_stopped_node_leaves_no_socket_behind(world: World, directory: Path) -> None:
    node = await world.node()
    assert len(list(directory.glob("*.sock"))) == 1
    await node.network.stop()
    assert list(directory.glob("*.sock")) == []


async def test_another_user_s_process_is_not_heard(world: World, directory: Path) -> None:
    """The modes keep others out; should somebody open them, the kernel still tells who it is."""
    if os.getuid() != 0:
        pytest.skip("Only root can become somebody else.")
    node = await world.node()
    path = world.endpoints[node.incarnation].socket
    directory.chmod(0o711)
    os.chmod(path, 0o666)
    packet = Wire([SECRET]).seal(Batch(7, node.incarnation, 1, 0, 0, 0, [b"evil"]))
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as intruder:
                intruder.settimeout(10)
                intruder.connect(path)
                try:
                    intruder.sendall(framed(packet))
                    os._exit(1 if intruder.recv(1) else 0)
                except (BrokenPipeError, ConnectionResetError):
                    os._exit(0)
        finally:
            os._exit(2)
    status: list[int] = []
    await until(lambda: status or _reaped(pid, status), lambda: "The intruder is still connected.")
    assert os.waitstatus_to_exitcode(status[0]) == 0
    assert node.network.traffic.batches_received == 0


def _reaped(pid: int, status: list[int]) -> bool:
    found, code = os.waitpid(pid, os.WNOHANG)
    if found:
        status.append(code)
    return bool(found)


async def test_a_listener_of_another_user_is_not_talked_to(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = await world.node(), await world.node()
    monkeypatch.setattr(sockets, "peer_uid", lambda fd: os.getuid() + 1)
    left.network.send(right.incarnation, b"secret")
    await until(lambda: left.network.stats().carriers == {"": 1}, lambda: str(left.network.stats()))
    monkeypatch.undo()
    await right.expect([b"secret"])


async def test_a_stream_of_nonsense_is_closed_and_the_node_goes_on(world: World) -> None:
    left, right = await world.node(), await world.node()
    path = world.endpoints[right.incarnation].socket
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(framed(b"nonsense"))
    await until(lambda: right.network.traffic.dropped["malformed"], lambda: str(right.network.stats()))
    writer.write((MAX_PACKET + 1).to_bytes(4, "big"))
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    left.network.send(right.incarnation, b"hello")
    await right.expect([b"hello"])


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


def test_it_works_under_uvloop(directory: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def talk() -> None:
        world = over_unix(directory)
        left, right = await world.node(), await world.node()
        frames = [*numbered(b"", 500), bytes(2_000_000), b"last"]
        for frame in frames:
            left.network.send(right.incarnation, frame)
            right.network.send(left.incarnation, frame)
        await right.expect(frames)
        await left.expect(frames)
        await world.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())
