"""Whose the actors are that live in memory only.

Each has a row of LightMoon's own while it is in some node's memory. It is claimed, judged and fenced as a model's own
row is, by the same statements; it just holds nothing but its owner, and goes when the actor leaves memory.
"""

from __future__ import annotations

import functools
import hashlib
import uuid
from typing import Any

from django.db import transaction

from lightmoon_django.actor.schema import ActorOptions, ActorSchema
from lightmoon_django.models import Place
from lightmoon_django.persistence.nodes import Nodes
from lightmoon_django.persistence.recorder import CHUNK, portions
from lightmoon_django.persistence.store import Write

PLACE = ActorSchema(
    cls=Place,
    name="lightmoon.Place",
    persistent=True,
    fields=("id",),
    options=ActorOptions(create=True),
    keys=str,
    substitute=lambda hint: hint,
    zoned=False,
)


def row_of(schema: ActorSchema, key: str) -> tuple[ActorSchema, str]:
    """The row that says who has an actor, as stores name rows: its own, or its place."""
    if schema.persistent:
        return schema, key
    # A digest, as a key may be longer than a primary key, and differ in what some collations hold for equal.
    name = f"{schema.name}:{key}".encode("utf-8", "surrogatepass")
    return PLACE, str(uuid.UUID(bytes=_beginning(schema.name) + hashlib.blake2b(name, digest_size=12).digest()))


@functools.cache
def _beginning(name: str) -> bytes:
    """Of the ids of all places of a class, so that they can be counted."""
    return hashlib.blake2b(name.encode(), digest_size=4).digest()


def span(schema: ActorSchema) -> tuple[uuid.UUID, uuid.UUID]:
    """The least and the greatest id that a place of that class may have."""
    beginning = _beginning(schema.name)
    return uuid.UUID(bytes=beginning + bytes(12)), uuid.UUID(bytes=beginning + b"\xff" * 12)


def look(schema: ActorSchema, key: str) -> Write:
    """What asks whether the place of an actor is still this node's."""
    place, id = row_of(schema, key)
    return Write(place, id, None, (uuid.UUID(id),), {})


def clean(alias: str) -> int:
    """Delete the places of nodes that are dead, and those that nobody has. How many went.

    Whoever calls such an actor would take its place over. A claim that has just made it makes it again.
    """
    rows: Any = Place._base_manager.using(alias)
    owners = set(rows.exclude(lightmoon_owner=None).values_list("lightmoon_owner", flat=True).distinct())
    with transaction.atomic(using=alias):
        dead = Nodes(alias).dead_among(owners)
    left = [rows.filter(lightmoon_owner__in=some) for some in portions(sorted(dead), CHUNK)]
    free = rows.filter(lightmoon_owner=None)
    ids = list(free.values_list("pk", flat=True))
    left += [free.filter(pk__in=some) for some in portions(ids, CHUNK)]  # judged again: it may be taken by now
    return sum(some._raw_delete(alias) for some in left)
