"""Checks of models whose rows can't be actors."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error
from django.db import models

from lightmoon_django.actor import registry

_composite: type | None = getattr(models, "CompositePrimaryKey", None)


def check(cls: type[models.Model]) -> Iterator[CheckMessage]:
    """Whether each row of the model is one actor of its own."""
    meta, name = cls._meta, cls.__name__
    if meta.proxy:
        yield _error(
            cls,
            f"{name} is a proxy model: its rows are those of {meta.concrete_model.__name__}.",  # type: ignore[union-attr]
            "Decorate the concrete model, and put the messages there.",
            "E020",
        )
    if meta.swapped:
        yield _error(
            cls,
            f"{name} is swapped for {meta.swapped}: it has no rows.",
            "Decorate the model that replaces it.",
            "E021",
        )
    if not meta.managed:
        yield _error(
            cls,
            f"{name} is unmanaged: its table lacks the column {registry.OWNER_FIELD}.",
            "Let Django manage the table, or keep the actor's state in a model of its own that refers to this one.",
            "E022",
        )
    if _composite is not None and isinstance(meta.pk, _composite):
        yield _error(
            cls,
            f"{name} has a composite primary key, but an actor's key is one text.",
            "Give it a single primary key, and a UniqueConstraint over the other fields.",
            "E023",
        )
    for parent in meta.all_parents if hasattr(meta, "all_parents") else meta.get_parent_list():
        if registry.is_actor(parent) and not meta.proxy:
            yield _error(
                cls,
                f"{name} and its parent {parent.__name__} are both actors over one row: two turns could run at once.",
                "Decorate only one of them.",
                "E024",
            )


def _error(cls: type, message: str, hint: str, number: str) -> Error:
    return Error(message, hint=hint, obj=cls, id=f"lightmoon.{number}")
