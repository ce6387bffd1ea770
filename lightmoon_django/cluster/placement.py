"""Which node an actor comes to live on that nobody has.

Prior art: Orleans' placement. Its lesson for `least_loaded` is kept: of two nodes drawn at random the one with less to
do is taken. What a node knows of others' load is a second or two old, and if all senders took the least loaded of
that list, they would bury it.

Who hosts what is a preference as long as it is only chosen by: two nodes may choose differently, and then the row's
claim decides. What a node itself refuses to host (`may_host`) is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lightmoon_django.actor.placement import CALLER, GATEWAY, role_of, strategy_of
from lightmoon_django.identity import Endpoint

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import ActorSchema

SLACK = 1.1  # times the mean load that a node may have before it gives actors away
SLACK_ACTORS = 2  # and so many more, or small numbers would never come to rest


class Placement:
    """What one node knows of all nodes, to choose by. On the node's loop; asks nobody."""

    def __init__(
        self,
        me: int,
        roles: frozenset[str],
        *,
        living: Callable[[], Mapping[int, Endpoint]],
        looked: Callable[[], bool],
        load: Callable[[], int],
        rng: random.Random | None = None,
    ) -> None:
        """`living` are the other processes, once `looked` says that somebody has looked for them at all."""
        self.closing: set[int] = set()  # processes that are stopping and take no more actors
        self.draining = False  # this one is
        self._me = me
        self._roles = roles - {GATEWAY, CALLER}
        self._caller = CALLER in roles
        self._server = not roles or bool(self._roles)
        self._living = living
        self._looked = looked
        self._load = load
        self._rng = rng or random.Random()
        self._placed: dict[int, tuple[int, int]] = {}  # the load that a node told, and what it was given since

    @property
    def hosting(self) -> bool:
        """Whether this node takes actors at all. A caller does while nobody else would."""
        if self._caller and not self._server:
            return self._looked() and not any(_serves(one) for one in self._living().values())
        return self._server

    def here(self, schema: ActorSchema) -> bool:
        """Whether a new activation belongs here without asking anybody."""
        return schema.placement == "local" and not self.draining and self.hosting

    def may_host(self, schema: ActorSchema) -> bool:
        """Whether such an actor may live here."""
        role = role_of(schema.placement)
        return self.hosting and (not role or not self._roles or role in self._roles)

    def choose(self, schema: ActorSchema, *, other: bool = False) -> int | None:
        """The process that shall have an actor of that class; with `other`, not this one. None: there is none."""
        candidates = self.candidates(schema)
        if other:
            candidates.pop(self._me, None)
        if not candidates:
            return None
        strategy = strategy_of(schema.placement)
        if strategy == "local" and self._me in candidates:
            return self._me
        names = list(candidates)
        if strategy == "random" or len(names) == 1:
            return self._rng.choice(names)
        return min(self._rng.sample(names, 2), key=self.load_of)

    def candidates(self, schema: ActorSchema) -> dict[int, bool]:
        """The processes that may have such actors, this one too, each with whether it names their role."""
        role = role_of(schema.placement)
        found = {
            one: role in _names(endpoint.roles)
            for one, endpoint in self._living().items()
            if one not in self.closing and _fits(endpoint, role)
        }
        if not self.draining and self.may_host(schema):
            found[self._me] = role in self._roles
        if role and any(found.values()):  # those without roles only stand in
            return {one: named for one, named in found.items() if named}
        return found

    def others(self) -> list[int]:
        """All other processes that take actors."""
        return sorted(one for one, endpoint in self._living().items() if one not in self.closing and _serves(endpoint))

    # Load

    def load_of(self, network: int) -> int:
        """How many actors a process has, as it told last, with those that this node has given it since."""
        if network == self._me:
            return self._load()
        endpoint = self._living().get(network)
        told = endpoint.load if endpoint is not None else 0
        then, given = self._placed.get(network, (told, 0))
        return told + given if then == told else told

    def given(self, network: int) -> None:
        """This node gives an actor to that process."""
        endpoint = self._living().get(network)
        if endpoint is not None:
            then, given = self._placed.get(network, (endpoint.load, 0))
            self._placed[network] = (endpoint.load, given + 1 if then == endpoint.load else 1)

    def forget(self, network: int) -> None:
        self.closing.discard(network)
        self._placed.pop(network, None)

    def misplaced(self, schema: ActorSchema) -> bool:
        """Whether actors of that class that live here should live elsewhere."""
        if self.draining:
            return False
        candidates = self.candidates(schema)
        return bool(candidates) and self._me not in candidates

    def surplus(self, schema: ActorSchema) -> int:
        """How many actors of that class this node should give to others, which have less to do."""
        if schema.placement == "local" or strategy_of(schema.placement) == "local" or self.draining:
            return 0
        candidates = self.candidates(schema)
        if self._me not in candidates or len(candidates) == 1:
            return 0
        mean = sum(map(self.load_of, candidates)) / len(candidates)
        mine = self._load()
        return int(mine - mean) if mine > mean * SLACK + SLACK_ACTORS else 0


def _names(roles: str) -> set[str]:
    return set(roles.split())


def _serves(endpoint: Endpoint) -> bool:
    """Whether a process hosts actors whoever else does."""
    return not endpoint.roles or bool(_names(endpoint.roles) - {GATEWAY, CALLER})


def _fits(endpoint: Endpoint, role: str) -> bool:
    return _serves(endpoint) and (not role or not endpoint.roles or role in _names(endpoint.roles))
