"""`events`: what actors let out."""

from __future__ import annotations

from typing import Any

import pytest

from lightmoon_django import ref
from lightmoon_django.errors import Rejected
from tests.live.models import Scratch, Tally


def test_events_are_recorded_in_the_order_of_release(alias: str, events: Any) -> None:
    """B65: also of an actor that nobody follows."""
    row, other = Tally.objects.create(), Tally.objects.create()
    row.add.sync(2)
    other.add.sync(5)
    row.add.sync(1)
    assert events.of(row) == [("added", {"n": 2, "count": 2}), ("added", {"n": 1, "count": 3})]
    assert events.of(ref(Tally, other.pk)) == [("added", {"n": 5, "count": 5})]
    events.clear()
    assert events.of(row) == []


def test_patches_of_the_view_are_recorded(alias: str, events: Any) -> None:
    """B65: only the fields that a turn changed, and only those of the view."""
    row = Tally.objects.create()
    row.add.sync(2)
    row.rename.sync("x")
    row.note.sync("not in the view")
    row.get.sync()
    assert events.patches_of(row) == [{"count": 2}, {"name": "x"}]
    assert events.of(row) == [("added", {"n": 2, "count": 2})]


def test_actors_in_memory_are_recorded_too(events: Any) -> None:
    """B65."""
    ref(Scratch, "a").add.sync(1)
    assert events.of(ref(Scratch, "a")) == [("added", {"n": 1, "count": 1})]
    assert events.patches_of(ref(Scratch, "a")) == [{"count": 1}]


def test_a_turn_that_was_undone_left_no_event(db: None, events: Any) -> None:
    """B27, B65."""
    row = Tally.objects.create()
    with pytest.raises(Rejected):
        row.fail_after_change.sync()
    assert events.of(row) == []
    assert events.patches_of(row) == []


def test_only_actors_have_events(events: Any) -> None:
    with pytest.raises(TypeError, match="A ref or a stored instance"):
        events.of("live.Tally")
