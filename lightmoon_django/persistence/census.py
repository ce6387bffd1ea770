"""Who has which actors, for people: counted from the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db import connections, models

from lightmoon_django.actor.registry import OWNER_FIELD
from lightmoon_django.actor.schema import ActorSchema
from lightmoon_django.models import Node, Place
from lightmoon_django.persistence import places
from lightmoon_django.persistence.nodes import DatabaseClock


class Standing(NamedTuple):
    """One node of one database, and how many rows of which class it owns, or places of one in memory only."""

    node: Node
    seconds: float  # until its lease ends; negative when it has
    owned: Counter[str]


def census(alias: str, schemas: Iterable[ActorSchema]) -> list[Standing]:
    """All nodes that one database knows, the oldest first. Reads every table of actors once."""
    owned: dict[int, Counter[str]] = {}
    tables = connections[alias].introspection.table_names()
    for schema in schemas:
        model: Any = schema.cls if schema.persistent else Place
        if model._meta.db_table not in tables:  # not migrated yet
            continue
        taken = model._base_manager.using(alias).filter(**{f"{OWNER_FIELD}__isnull": False})
        if not schema.persistent:
            taken = taken.filter(pk__range=places.span(schema))
        for owner, rows in taken.values_list(OWNER_FIELD).annotate(rows=models.Count("pk")).order_by():
            owned.setdefault(owner, Counter())[schema.name] += rows
    nodes = Node._base_manager.using(alias).annotate(left=models.F("expires_at") - DatabaseClock()).order_by("pk")
    return [Standing(one, _left(one) / 1_000_000, owned.get(one.pk, Counter())) for one in nodes]


def _left(row: Any) -> int:
    return int(row.left)
