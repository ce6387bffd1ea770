"""The table of nodes: who is alive, on the database's own clock.

A heartbeat and a takeover are both one conditional UPDATE of the same row, so that row's lock orders them: exactly one
of them succeeds. Ids are never used again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import connections, models
from django.db.models import Func

from lightmoon_django.identity import Endpoint
from lightmoon_django.models import Node
from lightmoon_django.persistence.process import Process, is_provably_dead, this_process

MICROSECONDS = 1_000_000
KEEP_DEAD = 24 * 3600 * MICROSECONDS  # microseconds that a tombstone stays for people to see


class DatabaseClock(Func):
    """Microseconds since 1970, when the row is judged and not when the statement or transaction began."""

    arity = 0
    output_field = models.BigIntegerField()
    template = "(CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000000 AS BIGINT))"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="((EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint)")

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        milliseconds = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER)"
        return self.as_sql(compiler, connection, template=f"({milliseconds} * 1000)")

    def as_mysql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        since = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
        return self.as_sql(compiler, connection, template=f"({since})")


class Nodes:
    """The nodes that one database knows. Every method is one or two statements on the calling thread's connection."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def register(
        self, incarnation: int, lease: float, endpoint: Endpoint | None = None, *, alone: bool = False
    ) -> None:
        """Start a lease of that many seconds, and forget tombstones that nobody looks at any more.

        `endpoint` says how others reach this node; its `host` is this process's in any case. With `alone` it has all
        actors that live in memory only, unless it isn't alone (`is_alone`).
        """
        process = this_process()
        self._forget()
        self._all().create(
            id=incarnation,
            host=process.host,
            pid=process.pid,
            process_started=process.started,
            started_at=DatabaseClock(),
            expires_at=DatabaseClock() + _microseconds(lease),
            alone=alone,
            **(_columns(endpoint) if endpoint is not None else {}),
        )

    def is_alone(self, incarnation: int) -> bool:
        """Whether a node that has registered as alone is; otherwise it says so now.

        Each node writes its own row first and reads the others' then. So of two that come at once one sees the other.
        """
        alone = self.survey().keys() <= {incarnation}
        if not alone:
            self.share(incarnation)
        return alone

    def share(self, incarnation: int) -> None:
        """That node has nothing any more but what it has claimed."""
        self._all().filter(id=incarnation).update(alone=False)

    def alone_beside(self, incarnation: int) -> bool:
        """Whether another living node still has all actors in memory only."""
        others = set(self._all().filter(alone=True, dead=False).exclude(id=incarnation).values_list("pk", flat=True))
        return bool(others - self.dead_among(others))

    def announce(self, incarnation: int, endpoint: Endpoint) -> None:
        """Say how others reach this node, where that wasn't known yet when it registered."""
        self._all().filter(id=incarnation).update(**_columns(endpoint))

    def survey(self) -> dict[int, Endpoint]:
        """How all living nodes are reached, after burying those that can't come back. Writes only if there are any."""
        rows = list(self._all().filter(dead=False))
        late = set(self._all().filter(dead=False, expires_at__lte=DatabaseClock()).values_list("pk", flat=True))
        suspects = [row.pk for row in rows if row.pk in late or is_provably_dead(_process(row))]
        dead = self.dead_among(suspects)
        return {row.pk: _endpoint(row) for row in rows if row.pk not in dead}

    def hosts(self) -> set[str]:
        """On which hosts nodes live. Writes nothing."""
        living = self._all().filter(dead=False, expires_at__gt=DatabaseClock())
        return set(living.values_list("host", flat=True))

    def heartbeat(self, incarnation: int, lease: float) -> bool:
        """Extend the lease. False: it has passed, or somebody declared this node dead; then it is gone for good."""
        alive = self._all().filter(id=incarnation, dead=False, expires_at__gt=DatabaseClock())
        return bool(alive.update(expires_at=DatabaseClock() + _microseconds(lease)))

    def leave(self, incarnation: int) -> None:
        """End the lease now: whoever asks may take what this node still has."""
        self._all().filter(id=incarnation).update(dead=True)

    def dead_among(self, incarnations: Collection[int]) -> set[int]:
        """Those that can't come back, after burying the ones whose time is up."""
        if not incarnations:
            return set()
        self._bury(self._all().filter(id__in=incarnations, expires_at__lte=DatabaseClock()))
        provably = [row.pk for row in self._alive(incarnations) if is_provably_dead(_process(row))]
        if provably:
            self._bury(self._all().filter(id__in=provably))
        return set(incarnations) - {row.pk for row in self._alive(incarnations)}

    def describe(self, incarnation: int) -> str:
        """For people: which process of which host has it."""
        row = self._all().filter(id=incarnation).first()
        if row is None:
            return f"incarnation {incarnation}"
        where = "this host" if row.host and row.host == this_process().host else f"host {row.host or 'unknown'}"
        return f"process {row.pid} on {where} (incarnation {incarnation})"

    def now(self) -> int:
        """The database's clock, in microseconds since 1970."""
        connection = connections[self._alias]
        compiler = Node.objects.using(self._alias).all().query.get_compiler(connection=connection)
        sql, parameters = compiler.compile(DatabaseClock())
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {sql}{connection.features.bare_select_suffix}", parameters)
            return int(cursor.fetchone()[0])

    def _forget(self) -> None:
        self._bury(self._all().filter(expires_at__lt=DatabaseClock() - KEEP_DEAD))
        self._all().filter(dead=True, expires_at__lt=DatabaseClock() - KEEP_DEAD).delete()

    def _all(self) -> models.QuerySet[Node]:
        return Node._base_manager.using(self._alias)

    def _alive(self, incarnations: Collection[int]) -> models.QuerySet[Node]:
        return self._all().filter(id__in=incarnations, dead=False)

    def _bury(self, rows: models.QuerySet[Node]) -> None:
        rows.filter(dead=False).update(dead=True)


def _columns(endpoint: Endpoint) -> dict[str, Any]:
    found = endpoint._asdict()
    del found["host"]  # this process's in any case
    return found


def _endpoint(row: Node) -> Endpoint:
    return Endpoint(row.host, row.socket, row.channel, row.roles, row.network, row.load)


def _process(row: Node) -> Process:
    return Process(row.host, row.pid, row.process_started)


def _microseconds(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
