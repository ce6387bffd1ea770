"""Where the actors of a class are to live: `@actor(placement=…)`."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any, Literal, get_args

from lightmoon_django import conf
from lightmoon_django.actor.schema import SchemaError

Strategy = Literal["local", "random", "least_loaded"]

STRATEGIES: tuple[str, ...] = get_args(Strategy)
GATEWAY = "gateway"  # the role of a process that hosts no actors when it has no other role
CALLER = "caller"  # of a process without a server, which hosts actors only while nobody else does


@dataclasses.dataclass(frozen=True, slots=True)
class Role:
    """On processes that have this role in `LIGHTMOON["ROLES"]`; among those, by `pick`.

    A process that names no roles has every role, and hosts such actors while none that names it is alive.
    """

    name: str
    pick: Strategy = "least_loaded"


Placement = Strategy | Role


def role_of(placement: Placement) -> str:
    """The role that a node must have; empty when any will do."""
    return placement.name if isinstance(placement, Role) else ""


def strategy_of(placement: Placement) -> Strategy:
    return placement.pick if isinstance(placement, Role) else placement


def mistake(actor: str, placement: Any) -> SchemaError | None:
    """What is wrong with a placement; None where nothing is."""
    if isinstance(placement, Role):
        return _mistaken_role(actor, placement)
    if placement in STRATEGIES:
        return None
    return SchemaError(f"{actor} has placement={placement!r}, which is no strategy.", _hint(placement))


def _mistaken_role(actor: str, role: Role) -> SchemaError | None:
    if not conf.is_role(role.name):
        return SchemaError(
            f"{actor} is placed by the role {role.name!r}, which is no name of a role.",
            "Name a role with letters, digits, dots, dashes and underscores.",
        )
    if role.name in (GATEWAY, CALLER):
        return SchemaError(
            f"{actor} is placed by the role {role.name!r}, whose processes host no actors.",
            'Name a role of your own, as in placement=Role("game").',
        )
    if role.pick not in STRATEGIES:
        return SchemaError(f"{actor} is placed with pick={role.pick!r}, which is no strategy.", _hint(role.pick))
    return None


def _hint(given: Any) -> str:
    if isinstance(given, str) and given.startswith("role:"):
        return f'A role is an object: placement=Role("{given.removeprefix("role:")}"), with Role from lightmoon_django.'
    near = difflib.get_close_matches(str(given), STRATEGIES, 1)
    if near:
        return f"Did you mean {near[0]!r}?"
    known = ", ".join(map(repr, STRATEGIES))
    return f'Choose one of {known}, or a role: placement=Role("game"), with Role from lightmoon_django.'
