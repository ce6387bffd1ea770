"""Real processes that host actors together over one database, each driven through its standard input."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import pytest

from tests import services
from tests.server.harness import ROOT

PATIENCE = 20.0  # seconds for an answer
START_PATIENCE = 60.0  # seconds for a process to come up


class Failed(Exception):
    """A call ended with an error; `found` is what the process tells of it."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__(str(found))
        self.found = found
        self.kind = found["kind"]


class Member:
    """One process, as the test sees it."""

    carrier = "unix"  # by which it is expected to reach the others
    module = "tests.cluster.member"
    number = 0  # in the order of starts, where a test counts them
    port = 0  # where it serves clients, if it does

    def __init__(self, environment: dict[str, str], log: IO[str] | None = None, within: Sequence[str] = ()) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, concurrent.futures.Future[Any]] = {0: concurrent.futures.Future()}
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", self.module],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self._ready = self._open[0]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self) -> Member:
        self.port = self._ready.result(START_PATIENCE) or 0
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            future = self._open.pop(answer["n"])
            if "error" in answer:
                future.set_exception(Failed(answer["error"]))
            else:
                future.set_result(answer["ok"])

    def begin(self, do: str, **order: Any) -> concurrent.futures.Future[Any]:
        number = next(self._numbers)
        future = self._open[number] = concurrent.futures.Future()
        future.number = number  # type: ignore[attr-defined]
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"n": number, "do": do, **order}) + "\n")
        self.process.stdin.flush()
        return future

    def do(self, do: str, **order: Any) -> Any:
        return self.begin(do, **order).result(PATIENCE)

    def asking(self, key: str, message: str, *args: Any, actor: str = "live.Tally", **options: Any) -> Any:
        return self.begin("ask", actor=actor, key=key, message=message, args=args, options=options)

    def ask(self, key: str, message: str, *args: Any, actor: str = "live.Tally", **options: Any) -> Any:
        return self.asking(key, message, *args, actor=actor, **options).result(PATIENCE)

    def fail(self, key: str, message: str, *args: Any, actor: str = "live.Tally", **options: Any) -> Failed:
        with pytest.raises(Failed) as found:
            self.ask(key, message, *args, actor=actor, **options)
        return found.value

    def make(self, count: int = 0) -> str:
        """A new actor, in the memory of this process."""
        key: str = self.do("make", count=count)
        assert self.ask(key, "get") == count
        return key

    def until_waiting(self, key: str, count: int, actor: str = "live.Tally") -> None:
        """Until so many messages wait for the actor's turn to end."""
        self.until(lambda: self.do("waiting", actor=actor, key=key), count)

    def taken(self) -> None:
        """What was begun before is on its way."""
        self.do("log")

    def until_logged(self, entry: Any) -> None:
        until = time.monotonic() + PATIENCE
        while entry not in self.do("log"):
            assert time.monotonic() < until, f"{entry} never happened"
            time.sleep(0.01)

    def until(self, look: Callable[[], Any], expected: Any) -> None:
        until = time.monotonic() + PATIENCE
        while (found := look()) != expected:
            assert time.monotonic() < until, found
            time.sleep(0.01)

    def until_heard(self, client: str, condition: Callable[[list[Any]], Any], patience: float = PATIENCE) -> Any:
        """What `condition` makes of a client's notifications, as soon as that is something."""
        until = time.monotonic() + patience
        while not (found := condition(frames := self.do("heard", client=client))):
            assert time.monotonic() < until, (client, frames)
            time.sleep(0.01)
        return found

    def send(self, how: signal.Signals) -> None:
        self.process.send_signal(how)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        self._reader.join(PATIENCE)
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate(timeout=PATIENCE)


M = TypeVar("M", bound=Member)


class Group(Generic[M]):
    """The processes of one test, over one database. What they say goes to `log`, if there is one."""

    def __init__(
        self,
        environment: dict[str, str],
        log: Path | None = None,
        *,
        kind: type[M] = Member,  # type: ignore[assignment]
    ) -> None:
        self._log = log.open("a") if log is not None else None
        self.environment = {**environment, "DJANGO_SETTINGS_MODULE": "tests.cluster.settings"}
        self._kind = kind
        self._members: list[M] = []

    def start(self, how_many: int = 1, *, within: Sequence[str] = (), **environment: str) -> list[M]:
        """Start processes; `within` stands in front of their command."""
        members = [self._kind({**self.environment, **environment}, self._log, within) for _ in range(how_many)]
        self._members += members
        for one in members:
            one.wait()
        return members

    def __enter__(self) -> Group[M]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        for member in self._members:
            member.close()
        if self._log is not None:
            self._log.close()


@contextlib.contextmanager
def carried_by(carrier: str) -> Iterator[dict[str, str]]:
    """What the environment says so that processes reach each other by "unix" sockets, or by a "layer" that is bad."""
    with contextlib.ExitStack() as stack:
        if carrier == "layer":
            yield {"LAYER_REDIS": stack.enter_context(services.redis_server()).url, "LAYER_LOSSES": "5"}
        else:
            yield {}
