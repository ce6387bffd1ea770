"""Unix sockets between real processes (design §8, §9.19)."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lightmoon_django.cluster.carriers import sockets, unixpath
from lightmoon_django.cluster.carriers.framing import framed
from lightmoon_django.cluster.carriers.unix import UnixCarrier
from lightmoon_django.cluster.carriers.unixpath import BUFFER, LIMIT
from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.sendwindow import WINDOW, LinkFull
from lightmoon_django.cluster.wire import CHALLENGE, MAX_PACKET, Batch, Wire
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
    path: Any = node.network._routes[incarnation]._best
    assert path._transport.get_write_buffer_size() <= BUFFER + LIMIT + 4, "The rest must wait in the link."
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


async def test_a_listener_of_another_user_is_not_talked_to(
    world: World, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, heard = await world.node(), list[bytes]()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    where = str(directory / "theirs")
    server = await asyncio.start_unix_server(listen, where)
    world.endpoints[7] = Endpoint(HOST, where)
    monkeypatch.setattr(sockets, "peer_uid", lambda fd: os.getuid() + 1)
    node.network.send(7, b"secret")
    await until(lambda: len(heard) > 1, lambda: f"heard {heard}")
    assert not any(heard)
    await node.network.stop()
    server.close()


async def test_a_connection_of_which_nobody_knows_whose_it_is_is_replaced(
    world: World, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B44: another file may be one too many just as the way to another process is opened again."""
    left, right = await world.node(), await world.node()
    left.network.send(right.incarnation, b"before")
    await right.expect([b"before"])
    (carrier,) = right.network._carriers
    await carrier.stop()
    real, failed = sockets.peer_uid, list[int]()

    def peer_uid(fd: int) -> int | None:
        if not failed:
            failed.append(fd)
            raise OSError(errno.EMFILE, "Too many open files")
        return real(fd)

    monkeypatch.setattr(sockets, "peer_uid", peer_uid)
    again = UnixCarrier(right.incarnation, host=HOST, directory=directory)
    await again.start(right.network)
    left.network.send(right.incarnation, b"after")
    await right.expect([b"before", b"after"], 10.0)
    assert failed
    await again.stop()


async def test_a_stream_of_nonsense_is_closed_and_the_node_goes_on(world: World) -> None:
    left, right = await world.node(), await world.node()
    path = world.endpoints[right.incarnation].socket
    reader, writer = await asyncio.open_unix_connection(path)
    challenge = await reader.readexactly(CHALLENGE)
    writer.write(Wire([SECRET]).proof(challenge, path) + framed(b"nonsense"))
    await until(lambda: right.network.traffic.dropped["malformed"], lambda: str(right.network.stats()))
    writer.write((MAX_PACKET + 1).to_bytes(4, "big"))
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    left.network.send(right.incarnation, b"hello")
    await right.expect([b"hello"])


async def test_a_process_without_the_secret_is_cut_off(world: World) -> None:
    """Design §9.19: of one user's processes, only those of the same project are heard."""
    node = await world.node()
    path = world.endpoints[node.incarnation].socket
    evil = framed(Wire([SECRET]).encode(Batch(7, node.incarnation, 1, 0, 0, 0, [b"evil"])))
    reader, writer = await asyncio.open_unix_connection(path)
    challenge = await reader.readexactly(CHALLENGE)
    writer.write(Wire(["another"]).proof(challenge, path) + evil)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    assert node.network.traffic.dropped == {"forged": 1}
    assert node.received == []


async def test_a_proof_is_good_for_one_connection_to_one_place(world: World) -> None:
    node = await world.node()
    path = world.endpoints[node.incarnation].socket
    wire, writers = Wire([SECRET]), []
    evil = framed(wire.encode(Batch(7, node.incarnation, 1, 0, 0, 0, [b"evil"])))

    async def open_with(proof: Callable[[bytes], bytes]) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_unix_connection(path)
        writers.append(writer)
        writer.write(proof(await reader.readexactly(CHALLENGE)) + evil)
        return reader

    recorded: list[bytes] = []
    await open_with(lambda challenge: recorded.append(wire.proof(challenge, path)) or recorded[0])  # type: ignore[func-returns-value]
    await until(lambda: node.network.traffic.batches_received == 1, lambda: str(node.network.stats()))
    for proof in (lambda _: recorded[0], lambda challenge: wire.proof(challenge, "another place")):
        assert await asyncio.wait_for((await open_with(proof)).read(), 10) == b""
    assert node.network.traffic.dropped == {"forged": 2}
    assert node.network.traffic.batches_received == 1
    for writer in writers:
        writer.close()


async def test_a_proof_that_comes_in_bits_is_put_together(world: World) -> None:
    node = await world.node()
    path = world.endpoints[node.incarnation].socket
    reader, writer = await asyncio.open_unix_connection(path)
    wire = Wire([SECRET])
    said = wire.proof(await reader.readexactly(CHALLENGE), path)
    said += framed(wire.encode(Batch(7, node.incarnation, 1, 0, 0, 0, [b"hello"])))
    for position in range(len(said)):
        writer.write(said[position : position + 1])
        await writer.drain()
        await asyncio.sleep(0)
    await until(lambda: node.network.traffic.batches_received == 1, lambda: str(node.network.stats()))
    writer.close()


async def test_a_listener_that_does_not_challenge_is_given_up(
    directory: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    """A stopped process is connected to by the kernel. What is for it must not count as sent."""
    monkeypatch.setattr(unixpath, "CHALLENGED_WITHIN", 0.05)
    heard = list[bytes]()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    where = str(directory / "stuck")
    server = await asyncio.start_unix_server(listen, where)
    node = await world.node()
    world.endpoints[7] = Endpoint(HOST, where)
    node.network.send(7, b"hello")
    await until(lambda: len(heard) > 1, lambda: f"heard {heard}")
    assert not any(heard)
    assert node.network.stats().carriers == {"": 1}
    assert node.network.unsent(7) == [b"hello"]
    await node.network.stop()
    server.close()


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
