"""Three long-lived web nodes over one PostgreSQL, for tests that don't kill them, and guests for those that do."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import psycopg
from websockets.sync.client import connect

from tests.cluster.processes import PATIENCE, Group, Member
from tests.databases import Databases
from tests.server.harness import Client, free_port

LEASE = "2"  # seconds, of guests: what other machines wait for when one is killed


class WebNode(Member):
    """A process that is called through its standard input, and by clients."""

    module = "tests.cluster.served"

    def __init__(self, environment: dict[str, str], log: IO[str] | None = None, within: Sequence[str] = ()) -> None:
        port = free_port()
        super().__init__({**environment, "MEMBER_PORT": str(port)}, log, within)
        self.port = port

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        with connect(f"ws://127.0.0.1:{self.port}/lightmoon/ws", max_size=None, close_timeout=1) as connection:
            yield Client(connection)

    def ask_ledger(self, key: str, message: str, *args: Any, **options: Any) -> Any:
        return self.ask(key, message, *args, actor="cluster.Ledger", **options)

    def asking_ledger(self, key: str, message: str, *args: Any, **options: Any) -> Any:
        return self.asking(key, message, *args, actor="cluster.Ledger", **options)


class Nodes:
    """`here`, `there` and `third`, the carrier between them, and the database under them."""

    def __init__(self, carrier: str, uri: str, redis: str) -> None:
        self.carrier = carrier
        self.uri = uri
        environment = {"SERVER_PG": uri} | ({"LAYER_REDIS": redis} if redis else {})
        self._group = Group(environment, kind=WebNode)
        self.here, self.there, self.third = self.members = self._group.start(3)
        for one in self.members:
            one.carrier = carrier
        self._keys = itertools.count(1)

    @contextlib.contextmanager
    def guest(self, lease: str = LEASE) -> Iterator[WebNode]:
        """A fourth node, for the worst. It is gone afterwards."""
        (found,) = self._group.start(1, LEASE_SECONDS=lease)
        try:
            yield found
        finally:
            found.close()

    def ledger(self, at: WebNode, balance: int = 0) -> str:
        """The key of a new actor in the memory of that node."""
        key = f"{self.carrier}-{next(self._keys)}"
        assert at.ask_ledger(key, "add", balance) == balance
        return key

    @contextlib.contextmanager
    def sql(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of somebody else; it commits at the end."""
        with psycopg.connect(self.uri) as connection:
            yield connection

    def one(self, sql: str, *parameters: Any) -> Any:
        """The first column of the first row."""
        with self.sql() as connection:
            row = connection.execute(sql.encode(), parameters).fetchone()
        return row[0] if row is not None else None

    def close(self) -> None:
        self._group.close()


def eventually(check: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """What `check` gives once it is true."""
    until = time.monotonic() + patience
    while not (found := check()):
        assert time.monotonic() < until, f"Not within {patience} s: {what}"
        time.sleep(0.01)
    return found


@contextlib.contextmanager
def opened(databases: Databases, carrier: str, redis: str = "") -> Iterator[Nodes]:
    """Nodes over a database of their own."""
    with databases.postgresql() as environment:
        nodes = Nodes(carrier, environment["SERVER_PG"], redis)
        try:
            yield nodes
        finally:
            nodes.close()
