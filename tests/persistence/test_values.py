"""What is stored is what the turn said, whatever kind of value said it."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lightmoon_django.persistence.store import Committed, Lost
from tests.app.models import Counter, Document, Folder, Member
from tests.persistence.world import Activation, World

BERLIN = ZoneInfo("Europe/Berlin")
TWICE = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)  # at the end of summer time


class Colour(str, enum.Enum):  # noqa: UP042  # no StrEnum: it shows itself by its name
    RED = "red"


class Rate(decimal.Decimal, enum.Enum):
    HALF = decimal.Decimal("0.50")


class Instant(datetime.datetime):
    """As libraries for tests put it in the place of Python's own."""


class Day(datetime.date):
    pass


class Span(datetime.timedelta):
    pass


class Token(uuid.UUID):
    pass


def activate(world: World, cls: Any, **values: Any) -> Activation:
    return world.node().activate(cls, world.insert(cls, **values))[0]


def stored(world: World, one: Activation, **values: Any) -> Any:
    """The row after a commit of those values."""
    outcome = one.commit(**values)
    assert isinstance(outcome, Committed), outcome
    return world.stored(one.cls, one.key)


def test_an_enumeration_is_stored_by_its_value(database: World) -> None:
    """B37."""
    assert stored(database, activate(database, Counter), name=Colour.RED).name == "red"
    assert stored(database, activate(database, Member), price=Rate.HALF).price == decimal.Decimal("0.50")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seen", Instant(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)),
        ("born", Day(2024, 1, 2)),
        ("spent", Span(days=-1, microseconds=5)),
        ("token", Token(int=7)),
    ],
)
def test_a_subclass_of_a_plain_type_is_stored_as_that(database: World, name: str, value: Any) -> None:
    """B37."""
    assert getattr(stored(database, activate(database, Member), **{name: value}), name) == value


def test_an_hour_that_comes_twice_is_two(database: World) -> None:
    """B37: to Python both are equal."""
    one = activate(database, Member)
    for moment in (TWICE, TWICE.replace(fold=1), TWICE):
        found = stored(database, one, seen=moment).seen
        assert found.timestamp() == moment.timestamp() == one.instance.seen.timestamp()


def test_no_number_is_stored_or_refused(database: World) -> None:
    """B74: SQLite would keep NULL. Where it is kept it is no outside write."""
    one = activate(database, Member)
    if database.backend == "sqlite":
        with pytest.raises(ValueError, match="NaN"):
            one.commit(ratio=float("nan"))
        return
    found = stored(database, one, ratio=float("nan")).ratio
    assert found != found
    assert isinstance(one.transact(lambda member: setattr(member, "size", 3)), Committed)


def test_a_number_that_is_only_written_otherwise_is_no_outside_write(database: World) -> None:
    """B71: PostgreSQL writes those of a document in its own way."""
    (one,) = database.node().activate(Document, "1")
    body = {"large": 1e22, "small": 1e-7, "zero": -0.0, "count": 10**30, "text": "1E+22"}
    assert stored(database, one, body=body).body == body
    assert isinstance(one.transact(lambda document: setattr(document, "title", "new")), Committed)


@pytest.mark.parametrize("outside", [{"n": True}, {"n": "1"}, {"n": {"\\0": "1"}}, {"n": 1.5}])
def test_another_value_is_one(database: World, outside: Any) -> None:
    """B71."""
    (one,) = database.node().activate(Document, "1")
    stored(database, one, body={"n": 1})
    database.update(Document, one.key, body=outside)
    assert one.transact(lambda document: setattr(document, "title", "new")) == Lost()


@pytest.mark.parametrize("name", ["papers", "sealed"])
def test_json_of_a_field_of_ones_own_is_stored(database: World, name: str) -> None:
    """B37: also with others in one group, and where it is only compared."""
    one, other = database.node().activate(Folder, database.insert(Folder), database.insert(Folder))
    value = {"a": ['\u00e4\\"', None, 1.5]}
    outcomes = one.node.commit(one.write(**{name: value}), other.write(**{name: value}))
    assert [type(one) for one in outcomes] == [Committed] * 2
    one.settle(outcomes[0])
    assert getattr(database.stored(Folder, one.key), name) == value
    assert isinstance(one.transact(lambda folder: setattr(folder, "host", "a")), Committed)


def test_true_is_not_one_in_such_a_field(database: World) -> None:
    """B37: though they are equal."""
    one = activate(database, Folder, papers={"a": 1})
    assert stored(database, one, papers={"a": True}).papers["a"] is True


def test_a_value_that_only_the_driver_can_write_is_stored(database: World) -> None:
    """9.7: with others in one group."""
    node = database.node()
    one, other = node.activate(Folder, database.insert(Folder), database.insert(Folder))
    (counter,) = node.activate(Counter, database.insert(Counter))
    outcomes = node.commit(one.write(host="moon"), other.write(host=None, papers={}), counter.write(count=5))
    assert [type(outcome) for outcome in outcomes] == [Committed] * 3
    assert database.stored(Folder, one.key).host == "moon"
    assert database.stored(Counter, counter.key).count == 5


@pytest.mark.parametrize(
    ("cls", "name", "value", "kept"),
    [
        (Counter, "count", 2.5, 2),
        (Counter, "count", "7", 7),
        (Counter, "count", True, 1),
        (Counter, "name", 7, "7"),
        (Member, "active", 0, False),
        (Member, "ratio", "1.5", 1.5),
        (Member, "counter_id", "", None),
    ],
)
def test_memory_has_what_the_column_made_of_it(database: World, cls: Any, name: str, value: Any, kept: Any) -> None:
    """B37: who goes on from there must not go on from something else than after a reload."""
    one = activate(database, cls)
    assert getattr(stored(database, one, **{name: value}), name) == kept
    now = getattr(one.instance, name)
    assert (type(now), now) == (type(kept), kept)
    assert one.after == one.columns.snapshot(one.instance)
    assert isinstance(one.transact(lambda instance: None), Committed)


def test_what_the_column_makes_the_same_is_no_change(database: World) -> None:
    one = activate(database, Counter, count=2)
    assert not one.write(count=2.5).changes
    assert one.instance.count == 2
