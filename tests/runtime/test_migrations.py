"""B36: a table is migrated while rows of it are owned by a running node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models
from django.db.migrations import AddField, AlterField
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.test.utils import isolate_apps

from lightmoon_django import actor, message, ref
from lightmoon_django.actor import registry
from lightmoon_django.host import host
from tests.kinds.models import Plant
from tests.runtime.conftest import TestRouter, World

LABEL = "kinds"
OLD_OWNER = 77  # an incarnation that no database knows


class Schema:
    """Operations as `migrate` runs them, undone in the end."""

    def __init__(self) -> None:
        self._state = ProjectState.from_apps(apps)
        self._done: list[tuple[Operation, ProjectState, ProjectState]] = []

    def apply(self, operation: Operation) -> None:
        before, after = self._state, self._state.clone()
        operation.state_forwards(LABEL, after)
        with connections[TestRouter.alias].schema_editor() as editor:
            operation.database_forwards(LABEL, editor, before, after)
        self._state = after
        self._done.append((operation, before, after))

    def undo(self) -> None:
        while self._done:
            operation, before, after = self._done.pop()
            with connections[TestRouter.alias].schema_editor() as editor:
                operation.database_backwards(LABEL, editor, after, before)


@pytest.fixture
async def schema(stored: World) -> AsyncIterator[Schema]:
    found = Schema()
    yield found
    await host.shut_down()
    await stored.db(found.undo)


async def plants(world: World, count: int) -> list[Any]:
    assert world.node is not None
    rows = [await world.db(Plant.objects.create) for _ in range(count)]
    return [ref(Plant, row.pk) for row in rows]


async def raw(world: World, sql: str) -> list[Any]:
    def run() -> list[Any]:
        with connections[TestRouter.alias].cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    return await world.db(run)


def _random() -> Any:
    from django.contrib.postgres.functions import RandomUUID

    return RandomUUID()


COLUMNS: list[Any] = [
    pytest.param(lambda: models.IntegerField(default=5), 5, id="default"),
    pytest.param(lambda: models.IntegerField(db_default=5), 5, id="db_default"),
    pytest.param(lambda: models.CharField(max_length=9, null=True), None, id="null"),
    pytest.param(lambda: models.UUIDField(db_default=_random()), ..., id="rewritten"),
    pytest.param(
        lambda: models.GeneratedField(
            expression=models.F("height") + 1, output_field=models.IntegerField(), db_persist=True
        ),
        ...,
        id="generated",
    ),
]


@pytest.mark.parametrize(("column", "value"), COLUMNS)
async def test_a_column_is_added_under_live_activations(
    stored: World, schema: Schema, column: Any, value: Any, request: pytest.FixtureRequest
) -> None:
    """Their turns go on through it, by `async def` and by `def`; every answered one is stored, and the row stays owned.

    Some columns make PostgreSQL, and all make SQLite, write the whole table anew.
    """
    if "rewritten" in request.node.name and stored.backend != "postgresql":
        pytest.skip("A default of PostgreSQL's.")
    busy, blocking, idle, cold = await plants(stored, 4)
    assert await busy.grow() == await blocking.grow_blocking() == await idle.grow() == 1
    migrated = asyncio.Event()

    async def keep_growing(grow: Any) -> int:
        last = 1
        for _ in range(10_000):
            done = migrated.is_set()
            answer = await grow.options(timeout=20)()
            assert answer == last + 1
            last = answer
            if done:
                return last
        raise AssertionError("The migration did not end.")

    growing = [asyncio.ensure_future(keep_growing(one)) for one in (busy.grow, blocking.grow_blocking)]
    await asyncio.sleep(0.05)
    await stored.db(schema.apply, AddField("plant", "extra", column()))
    migrated.set()
    heights = await asyncio.gather(*growing)
    assert await idle.grow() == 2
    assert await cold.grow() == 1
    rows = await raw(stored, "SELECT height, lightmoon_owner IS NULL, extra FROM kinds_plant ORDER BY id")
    assert [(row[0], bool(row[1])) for row in rows] == [(height, False) for height in (*heights, 2, 1)]
    if value is not ...:
        assert [row[2] for row in rows] == [value] * 4


async def test_an_uncommitted_migration_holds_a_commit_up_and_loses_nothing(stored: World, schema: Schema) -> None:
    """B70: the table is locked by a migration that takes its time; the turn is stored after it."""
    (one,) = await plants(stored, 1)
    assert await one.grow() == 1
    begun, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(AddField):
        def database_forwards(self, *args: Any) -> None:
            super().database_forwards(*args)
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)

    migrating = asyncio.ensure_future(stored.db(schema.apply, Slow("plant", "extra", models.IntegerField(default=5))))
    await begun.wait()
    turns = [asyncio.ensure_future(one.grow.options(timeout=20)()) for _ in range(3)]
    await asyncio.sleep(0.3)
    assert not any(turn.done() for turn in turns)
    go.set()
    await migrating
    assert await asyncio.gather(*turns) == [2, 3, 4]
    assert await raw(stored, "SELECT height, extra FROM kinds_plant") == [(4, 5)]


async def test_a_columns_type_changes_under_live_activations(stored: World, schema: Schema) -> None:
    """What the server has prepared for the old type is prepared anew: for loads, looks and commits."""
    one, two, cold = await plants(stored, 3)
    assert await one.grow() == await two.grow() == 1
    await stored.db(schema.apply, AlterField("plant", "height", models.BigIntegerField(default=0)))
    assert await asyncio.gather(one.grow(), two.grow_blocking(), cold.grow()) == [2, 2, 1]
    assert await one.measure() == 2


@contextmanager
def new_code() -> Iterator[Any]:
    """The model as it is deployed with the migration, over the same table."""
    kept = [dict(registry._registered), dict(registry._refs), dict(registry._schemas)]
    with isolate_apps("tests.kinds"):

        @actor
        class NewPlant(models.Model):
            height = models.IntegerField(default=0)
            name = models.CharField(max_length=20, default="")
            extra = models.IntegerField(default=5)

            class Meta:
                app_label = LABEL
                db_table = "kinds_plant"

            @message
            async def both(self, extra: int = 0) -> tuple[int, int]:
                self.height += 1
                self.extra += extra
                return self.height, self.extra

        yield NewPlant
    for current, before in zip((registry._registered, registry._refs, registry._schemas), kept, strict=True):
        current.clear()
        current.update(before)  # type: ignore[arg-type]


async def test_old_rows_activate_with_the_new_columns_default(stored: World, schema: Schema) -> None:
    """B36: rows that nobody has, and those that a node of the old code died with."""
    old, free = await plants(stored, 2)
    assert await old.grow(3) == 3
    await stored.db(schema.apply, AddField("plant", "extra", models.IntegerField(default=5)))
    await host.shut_down()
    await raw(stored, f"UPDATE kinds_plant SET lightmoon_owner = {OLD_OWNER} WHERE id = {old.key}")
    with new_code() as plant:
        assert stored.node is not None
        assert await ref(plant, old.key).both(1) == (4, 6)
        assert await ref(plant, free.key).both() == (1, 5)
        await host.shut_down()
    assert await raw(stored, "SELECT height, extra FROM kinds_plant ORDER BY id") == [(4, 6), (1, 5)]
