"""Snapshots, and what is written of a change."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import F

from lightmoon_django.actor.registry import schema_of
from lightmoon_django.persistence.columns import ModelColumns
from lightmoon_django.persistence.memory import MemoryColumns
from tests.app.models import Computed, Counter, Document, Member, Room, Scratchpad, Stamped


def columns_of(cls: type) -> ModelColumns:
    return ModelColumns(schema_of(cls), connections["default"])


def changes(instance: Any, **values: Any) -> dict[str, Any]:
    """What a turn that sets those values has to write, by name."""
    columns = columns_of(type(instance))
    before = columns.snapshot(instance)
    for name, value in values.items():
        setattr(instance, name, value)
    _, found = columns.changes(before, columns.snapshot(instance), instance)
    return {columns.names[i]: value for i, value in found.items()}


def test_an_instance_is_made_from_a_snapshot_and_back() -> None:
    columns = columns_of(Counter)
    instance = columns.make((7, 3, "a", "b"), "7")
    assert isinstance(instance, Counter)
    assert (instance.pk, instance.count, instance.lightmoon_owner) == (7, 3, None)
    assert not instance._state.adding
    assert columns.snapshot(instance) == (7, 3, "a", "b")


def test_the_plain_snapshot_is_one_c_function() -> None:
    """§7: it runs twice per turn."""
    assert type(columns_of(Counter)._read).__name__ == "itemgetter"


def test_a_snapshot_of_json_does_not_change_with_the_instance() -> None:
    """B27."""
    columns = columns_of(Document)
    instance = Document(pk=1, body={"list": [1]})
    before = columns.snapshot(instance)
    instance.body["list"].append(2)
    assert columns.snapshot(instance) != before
    columns.restore(instance, before)
    assert instance.body == {"list": [1]}


def test_json_differs_by_value_and_type() -> None:
    document = Document(pk=1, body={"a": 1})
    assert changes(document, body={"a": 1}) == {}
    assert changes(document, body={"a": True}) == {"body": '{"a": true}'}
    assert changes(document, body={"a": 1.0}) == {"body": '{"a": 1.0}'}


def test_a_value_of_a_snapshot_is_what_user_code_would_see() -> None:
    columns = columns_of(Document)
    snapshot = columns.snapshot(Document(pk=1, body={"a": [1]}, title="t"))
    assert columns.value(snapshot, columns.names.index("body")) == {"a": [1]}
    assert columns.value(snapshot, columns.names.index("title")) == "t"


def test_restoring_forgets_a_related_object_that_no_longer_fits() -> None:
    columns = columns_of(Member)
    member = Member(pk=1)
    before = columns.snapshot(member)
    member.counter = Counter(pk=5)
    columns.restore(member, before)
    assert member.counter_id is None
    assert member.counter is None


def test_unchanged_values_are_not_written() -> None:
    """B32."""
    member = Member(pk=1, price=decimal.Decimal("1.50"))
    assert changes(member, price=decimal.Decimal("1.5"), active=True, ratio=0.0) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("email", "nul\x00"),
        ("email", "lone \ud800 surrogate"),
        ("email", "x" * 255),
        ("active", None),
        ("size", -1),
        ("size", 10**30),
        ("price", decimal.Decimal("1234567.00")),
        ("price", decimal.Decimal("NaN")),
        ("price", decimal.Decimal("1e400")),
        ("ratio", "no number"),
        ("ratio", F("ratio") + 1),
        ("born", "yesterday"),
        ("token", "no uuid"),
        ("id", 2),
    ],
)
def test_what_a_column_can_not_hold_is_refused(name: str, value: Any) -> None:
    """B74: it fails its own turn, before it reaches a group."""
    with pytest.raises((ValueError, TypeError, ArithmeticError, ValidationError)):
        changes(Member(pk=1), **{name: value})


@pytest.mark.parametrize("body", [{"a": "\x00"}, {"\ud800": 1}, [float("nan")], {"a": [float("inf")]}])
def test_what_json_columns_can_not_hold_is_refused(body: Any) -> None:
    """B74."""
    with pytest.raises(ValueError):
        changes(Document(pk=1), body=body)


def test_text_that_looks_dangerous_is_allowed_in_json() -> None:
    body = {"a": "\\u0000 NaN Infinity 💥"}
    assert changes(Document(pk=1), body=body)


def test_what_can_not_become_json_is_refused() -> None:
    with pytest.raises(TypeError):
        changes(Document(pk=1), body={"a": object()})


def test_decimals_are_rounded_in_memory_as_the_column_rounds_them() -> None:
    member = Member(pk=1)
    assert changes(member, price=decimal.Decimal("1.005")) == {"price": decimal.Decimal("1.01")}
    assert member.price == decimal.Decimal("1.01")


def test_auto_now_is_set_with_any_change_and_not_without() -> None:
    """B37."""
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    stamped = Stamped(pk=1, value=1, created=then, modified=then)
    assert changes(stamped, value=1) == {}
    assert set(changes(stamped, value=2)) == {"value", "modified"}
    assert stamped.modified > then


def test_generated_columns_are_never_written() -> None:
    columns = columns_of(Computed)
    computed = columns.make((1, 2, 4), "1")
    computed.double = 99
    after, found = columns.changes((1, 2, 4), columns.snapshot(computed), computed)
    assert (after, found, computed.double) == ((1, 2, 4), {}, 4)


def test_a_text_key_can_not_change() -> None:
    with pytest.raises(ValueError, match="key"):
        changes(Room(slug="a"), slug="b")


def test_a_plain_class_keeps_its_annotated_attributes() -> None:
    columns = MemoryColumns(schema_of(Scratchpad))
    instance = columns.make(columns.defaults(), "pad")
    assert (instance.key, instance.lines, instance.total) == ("pad", [], 0)
    before = columns.snapshot(instance)
    instance.lines.append("x")
    instance.total = 5
    after = columns.snapshot(instance)
    assert columns.changes(before, after, instance) == (after, {0: ["x"], 1: 5})
    columns.restore(instance, before)
    assert (instance.lines, instance.total) == ([], 0)
    assert Scratchpad.lines == []
