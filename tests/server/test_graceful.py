"""A server that is told to stop while another one over the same database goes on."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from lightmoon_django.gateway.carrier import TRY_AGAIN_LATER
from tests.databases import Databases
from tests.server.harness import Client, Server


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_clients_of_a_server_that_stays_notice_nothing(kind: str, databases: Databases, tmp_path: Path) -> None:
    """B42: SIGTERM to the server that has the actors; every call through the other one has a result."""
    environment = databases.sqlite(tmp_path)
    leaving, staying = Server(kind, environment), Server("uvicorn", environment)
    try:
        leaving.start()
        staying.start()
        with leaving.client() as client:
            for room in "abcd":
                assert client.call("server.Room.say", key=room, text="x") == 1
        answers: dict[str, list[Any]] = {room: [] for room in "abcd"}
        over = threading.Event()

        def talk(room: str) -> None:
            with staying.client() as client:
                while not over.is_set():
                    answers[room].append(client.call("server.Room.say", key=room, text="y"))

        threads = [threading.Thread(target=talk, args=(room,)) for room in answers]
        for thread in threads:
            thread.start()
        over.wait(1.0)
        assert leaving.end(signal.SIGTERM) in (0, -signal.SIGTERM)
        over.wait(1.0)
        over.set()
        for thread in threads:
            thread.join(20.0)
        for found in answers.values():
            assert len(found) > 10
            assert found == list(range(2, len(found) + 2))
    finally:
        leaving.stop()
        staying.stop()


@pytest.mark.parametrize("connects", [False, True])
def test_daphne_gives_its_actors_back_before_it_ends(connects: bool, databases: Databases, tmp_path: Path) -> None:
    """B42: it knows no lifespan; and no client need have connected, where a view has called an actor."""
    environment = databases.sqlite(tmp_path)
    server = Server("daphne", environment)
    try:
        server.start()
        assert server.request("/click/a") == 200
        if connects:
            with server.client() as client:
                assert client.call("server.Clicks.add", key="a") == 2
        with contextlib.closing(sqlite3.connect(environment["SERVER_SQLITE"])) as database:
            living = "SELECT count(*) FROM lightmoon_node WHERE NOT dead"
            assert database.execute(living).fetchone() == (1,)
            assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)
            assert database.execute(living).fetchone() == (0,)
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
def test_calls_in_flight_are_answered_before_the_connection_is_closed(
    kind: str, databases: Databases, tmp_path: Path
) -> None:
    """B42, B58: `lm.closing` first, for each client with a time of its own to come back; then the answer; then 1012."""
    server = Server(kind, databases.sqlite(tmp_path))
    try:
        server.start()
        with server.client() as client, server.client() as other:
            assert client.call("server.Clicks.add", key="a") == 1
            other.call("lm.ping")
            call = client.send("server.Clicks.slow", {"key": "a", "seconds": 1.0})
            queued = client.send("server.Clicks.add", {"key": "a", "n": 10})
            client.call("lm.ping")  # what was sent before it has been taken
            ending = threading.Thread(target=server.end, args=(signal.SIGTERM,))
            ending.start()
            assert client.answer(call)["result"] == 2
            assert client.answer(queued)["result"] == 12
            with pytest.raises(ConnectionClosed) as closed:
                client.receive()
            if kind == "uvicorn":
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1012
            closings = [*client.notifications, other.receive()]
            assert [one["method"] for one in closings] == ["lm.closing"] * 2
            times = {one["params"]["retry_after"] for one in closings}
            assert len(times) == 2
            assert min(times) >= 0.5
            ending.join(20.0)
    finally:
        server.stop()


class Wanderer:
    """A client that counts in one room, and goes to the next server when its own one closes."""

    def __init__(self, servers: list[Server], room: str) -> None:
        self.answers: list[int] = []
        self.errors: list[Any] = []
        self.over = threading.Event()
        self._servers = servers
        self._room = room
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self.over.set()
        self._thread.join(30.0)

    def _run(self) -> None:
        number = 0
        while not self.over.is_set():
            try:
                with self._servers[number % len(self._servers)].client() as client:
                    self._stay(client)
            except OSError:
                time.sleep(0.05)  # it is starting
            except ConnectionClosed:
                pass
            number += 1

    def _stay(self, client: Client) -> None:
        while not self.over.is_set() and not client.notifications:
            found = self._said(client)
            if found is None:
                return  # it was sent too late to run
            if "result" in found:
                self.answers.append(found["result"])
            elif "did not run" not in found["error"]["message"]:
                self.errors.append(found["error"])
            time.sleep(0.01)

    def _said(self, client: Client) -> dict[str, Any] | None:
        try:
            return client.answer(client.send("server.Room.say", {"key": self._room, "text": "y"}))
        except ConnectionClosed as closed:
            client.read_out()
            let_in = closed.rcvd is None or closed.rcvd.code != TRY_AGAIN_LATER  # else the server was closing already
            if let_in and not client.notifications:
                self.errors.append(str(closed))
            return None


@pytest.mark.slow
def test_a_rolling_restart_loses_nothing(databases: Databases, tmp_path: Path) -> None:
    """B42: three servers are restarted one after another under load; all accepted calls are answered and count once."""
    environment = databases.sqlite(tmp_path)
    servers = [Server("uvicorn", environment) for _ in range(3)]
    wanderers: list[Wanderer] = []
    try:
        for server in servers:
            server.start()
        wanderers += [Wanderer([*servers[at:], *servers[:at]], f"room {at} {one}") for at in range(3) for one in "ab"]
        for server in servers:
            assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)
            server.start()
        for one in wanderers:
            one.end()
        for one in wanderers:
            assert one.errors == []
            assert one.answers == list(range(1, len(one.answers) + 1))
            assert len(one.answers) > 20
    finally:
        for one in wanderers:
            one.end()
        for server in servers:
            server.stop()


def test_a_second_interrupt_ends_a_server_soon(databases: Databases, tmp_path: Path) -> None:
    """B41: as of somebody who presses Ctrl-C again. Uvicorn leaves the end of its lifespan out then."""
    server = Server("uvicorn", databases.sqlite(tmp_path))
    try:
        server.start()
        with server.client() as client:
            assert client.call("server.Clicks.add", key="a") == 1
            client.send("server.Clicks.slow", {"key": "a", "seconds": 60})
            time.sleep(0.5)
            server.tell(signal.SIGINT)
            time.sleep(0.3)
            server.end(signal.SIGINT)  # fails if it doesn't end
    finally:
        server.stop()
