"""A server that is told to stop while another one over the same database goes on."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from tests.server.harness import Server


def test_clients_of_a_server_that_stays_notice_nothing(tmp_path: Path) -> None:
    """B42: SIGTERM to the server that has the actors; every call through the other one has a result."""
    environment = {"SERVER_SQLITE": str(tmp_path / "server.sqlite3")}
    leaving, staying = Server("uvicorn", environment), Server("uvicorn", environment)
    leaving.manage("migrate", "--run-syncdb", "--verbosity", "0")
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
