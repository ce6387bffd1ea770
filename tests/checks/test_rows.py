"""B66: models whose rows can't be actors."""

from __future__ import annotations

import pytest
from django.db import models
from django.test import override_settings

from lightmoon_django import actor
from lightmoon_django.checks import declarations
from lightmoon_django.errors import UsageError


def found(cls: type) -> dict[str | None, str]:
    """Hints by id. There must be one with each."""
    messages = declarations.check_actor(cls)
    assert all(one.hint for one in messages)
    return {one.id: str(one.hint) for one in messages}


def test_a_proxy_model_is_an_error() -> None:
    """B66: its rows are another model's."""

    class Room(models.Model):
        class Meta:
            app_label = "testapp"

    @actor
    class QuietRoom(Room):
        class Meta:
            app_label = "testapp"
            proxy = True

    assert "concrete model" in found(QuietRoom)["lightmoon.E020"]


@override_settings(TESTAPP_ROOM_MODEL="auth.User")
def test_a_swapped_model_is_an_error() -> None:
    """B66: it has no table."""

    @actor
    class Room(models.Model):
        class Meta:
            app_label = "testapp"
            swappable = "TESTAPP_ROOM_MODEL"

    assert "replaces it" in found(Room)["lightmoon.E021"]


def test_an_unmanaged_model_is_an_error() -> None:
    """B66: nobody adds the owner's column to its table."""

    @actor
    class Room(models.Model):
        class Meta:
            app_label = "testapp"
            managed = False

    assert "manage the table" in found(Room)["lightmoon.E022"]


@pytest.mark.skipif(not hasattr(models, "CompositePrimaryKey"), reason="Django before 5.2")
def test_a_composite_key_is_an_error() -> None:
    """B66: an actor's key is one text."""

    @actor
    class Seat(models.Model):
        pk = models.CompositePrimaryKey("row", "number")
        row = models.IntegerField()
        number = models.IntegerField()

        class Meta:
            app_label = "testapp"

    assert "single primary key" in found(Seat)["lightmoon.E023"]


def test_two_actors_over_an_inherited_row_are_an_error() -> None:
    """B66: one row, one actor."""

    @actor
    class Place(models.Model):
        class Meta:
            app_label = "testapp"

    @actor
    class Restaurant(Place):
        class Meta:
            app_label = "testapp"

    assert "only one" in found(Restaurant)["lightmoon.E024"]


def test_an_abstract_model_is_refused_at_once() -> None:
    """B66: at its declaration, since there are no rows at all."""

    class Base(models.Model):
        class Meta:
            app_label = "testapp"
            abstract = True

    with pytest.raises(UsageError, match="concrete children"):
        actor(Base)
