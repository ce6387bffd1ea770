"""Which actor a test means."""

from __future__ import annotations

from lightmoon_django.actor import registry
from lightmoon_django.actor.ref import Ref
from lightmoon_django.identity import Address


def address_of(target: object) -> Address:
    """The address behind a ref, or that of the actor whose row (or copy of it) `target` is."""
    if isinstance(target, Ref):
        return Address(registry.name_of(target.actor), target.key)
    key = getattr(target, "lightmoon_key", None)
    if not registry.is_actor(type(target)) or key is None:
        raise TypeError(f"A ref or a stored instance of an actor class is needed here, not {target!r}.")
    return Address(registry.schema_of(type(target)).name, key)
