"""`make cluster`: the demo on three web servers, a host node, PostgreSQL and Redis, as its users start and end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.sync.client import connect

from tests.server.harness import PATIENCE, ROOT, Client, free_port


class Cluster:
    """A running one, and what it prints."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = free_block()
        self._printed = directory / "printed"
        with self._printed.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo_project.cluster", "--port", str(self.port), "--directory", str(directory)],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def until_printed(self, text: str) -> str:
        until = time.monotonic() + 2 * PATIENCE
        while text not in (printed := self._printed.read_text()):
            assert self.process.poll() is None, f"It ended with {self.process.poll()}:\n{printed}"
            assert time.monotonic() < until, f"{text!r} is not printed:\n{printed}"
            time.sleep(0.05)
        return printed

    def processes(self) -> list[psutil.Process]:
        """All that belong to it, whoever their parent is."""
        told = [one for one in psutil.process_iter() if one.pid != os.getpid() and str(self._directory) in _told(one)]
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        return sorted({*told, *children}, key=lambda one: one.pid)

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it: to the whole group in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE)

    @contextlib.contextmanager
    def visitor(self, number: int, name: str) -> Iterator[Client]:
        """Somebody in the lobby, at one of the servers."""
        with connect(f"ws://127.0.0.1:{self.port + number}/lightmoon/ws") as connection:
            client = Client(connection)
            client.call("lm.subscribe", actor="chat.Room", key="lobby")
            client.call("chat.Room.hello", key="lobby", name=name)
            yield client


def free_block() -> int:
    while True:
        port = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for number in range(1, 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            return port


def _told(process: psutil.Process) -> str:
    try:
        return f"{process.cmdline()} {process.environ()}"
    except (psutil.Error, OSError):
        return ""


def alive(process: psutil.Process) -> bool:
    """Not even a zombie's remains count, where nobody reaps those of a daemon."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    try:
        yield found
    finally:
        for one in (found.process, *found.processes()):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        found.process.wait()


def heard(client: Client, event: str) -> dict[str, Any]:
    """The data of the next event of that name."""
    while True:
        frame = client.notifications.pop(0) if client.notifications else client.receive()
        if frame["method"] == "lm.event" and frame["params"]["name"] == event:
            return dict(frame["params"]["data"])


def test_a_cluster_starts_serves_and_ends(cluster: Cluster) -> None:
    """B25, B42, B55: what is said at one server arrives at another; one that is killed is missed by nobody."""
    printed = cluster.until_printed("Ctrl-C ends everything")
    pids = [int(line.rpartition("process ")[2]) for line in printed.splitlines() if "process " in line and "//" in line]
    assert len(pids) == 3
    with cluster.visitor(1, "Grace") as grace, cluster.visitor(0, "Ada") as ada:
        assert heard(grace, "company") == {"people": ["Grace"]}
        assert heard(grace, "company") == {"people": ["Ada", "Grace"]}
        ada.call("chat.Room.say", key="lobby", text="Can you hear me?")
        assert heard(grace, "said")["line"]["text"] == "Can you hear me?"
        os.kill(pids[1], signal.SIGKILL)  # it has the room, as Grace was there first
        with cluster.visitor(2, "Joan") as joan:
            joan.call("chat.Room.say", key="lobby", text="Still here")
            lines = joan.call("chat.Room.recent", key="lobby")
    assert [line["text"] for line in lines[-2:]] == ["Can you hear me?", "Still here"]
    cluster.until_printed("is back")
    with cluster.visitor(1, "Grace") as grace:
        assert grace.call("chat.Room.recent", key="lobby") == lines
        running = cluster.processes()
        assert len(running) >= 7  # servers, node, PostgreSQL, Redis, and who started them
        assert cluster.interrupt() == 0
    assert [str(one) for one in {*running, *cluster.processes()} if alive(one)] == []


def test_a_taken_port_is_an_answer(tmp_path: Path) -> None:
    """Before anything is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "demo_project.cluster", "--port", str(port - 1), "--directory", str(tmp_path / "x")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} already" in done.stderr
    assert not (tmp_path / "x").exists()
