"""Who follows an actor: which users, by which connections.

Nothing of it is stored. The node that has the actor knows its subscribers, those of other nodes too, and tells all of
them what has changed: once in an interval, as one frame for everybody. Beyond a limit only numbers are told, so that
what n connections cost does not grow with n times n.

One who leaves stays listed for a while. A page that is loaded again, a connection that breaks, an actor that is
replaced in memory or a node that dies and whose clients come back elsewhere: none of these is a leave and a join.

Prior art: Phoenix.Presence, which this takes users with connections, and joins and leaves, from. There each node
replicates what it knows to all others; here one node has the actor and with it the truth.
"""

from __future__ import annotations

import copy
import logging
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django import codec
from lightmoon_django.actor.presence import Present
from lightmoon_django.identity import Address

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Subscription
    from lightmoon_django.clock import Cancellable
    from lightmoon_django.runtime.activation import Activation
    from lightmoon_django.runtime.node import Node

logger = logging.getLogger("lightmoon")

PROMPT = 0.02  # seconds that a change waits for company after a quiet time
AGAIN = 0.8  # of the limit, at which everybody is listed again
_PLAIN = (str, int, float, bool, type(None))


class Member:
    """One connection."""

    __slots__ = ("at", "id", "info", "meta", "name", "user")

    def __init__(self, id: str, user: str, info: Mapping[str, Any], at: str, meta: Mapping[str, Any]) -> None:
        self.id = id  # the subscriber's, which nobody is told
        self.name = secrets.token_hex(4)
        self.user = user
        self.info = info
        self.at = at
        self.meta = meta  # what the client says of it; replaced, never changed

    @property
    def shown(self) -> dict[str, Any]:
        return {"at": self.at, "meta": self.meta} if self.meta else {"at": self.at}


class Presence:
    """Who follows one actor. `run` and `rev` number what is told, so that a gap shows."""

    __slots__ = (
        "_address",
        "_changed",
        "_gone",
        "_leaving",
        "_members",
        "_new",
        "_node",
        "_rev",
        "_run",
        "_timer",
        "_told_at",
        "_unlisted",
        "_users",
    )

    def __init__(self, node: Node, address: Address) -> None:
        self._node = node
        self._address = address
        self._run = secrets.token_hex(4)
        self._rev = 0
        self._members: dict[str, Member] = {}  # by subscriber
        self._users: dict[str, dict[str, Member]] = {}  # by user, then by subscriber
        self._leaving: dict[str, float] = {}  # subscribers, and until when they may come back; the next one first
        self._new: dict[str, Member] = {}  # to be told
        self._gone: list[Member] = []  # likewise
        self._changed: dict[str, Member] = {}  # likewise: they were told with another meta
        self._unlisted = False  # somebody was told numbers alone, and nobody the whole list after that
        self._told_at = float("-inf")
        self._timer: tuple[float, Cancellable] | None = None

    @property
    def empty(self) -> bool:
        return not self._members

    def join(self, id: str, user: Any, shown: Iterable[str], meta: Mapping[str, Any] | None) -> None:
        """A subscriber is there, perhaps again. Without `meta` it says of itself what it said before."""
        key = _key_of(user)
        self._leaving.pop(id, None)
        known = self._members.get(id)
        if known is not None and known.user == key:
            if meta is not None:
                self.describe(id, meta)
            return
        if known is not None:
            self._remove(known)
        elif key and (earlier := self._leaver(key)) is not None:
            self._remove(earlier)  # the same user's page, loaded again
        member = Member(id, key, _info(user, shown), self._node.clock.now().isoformat(), meta or {})
        self._members[id] = self._new[id] = member
        self._users.setdefault(key, {})[id] = member
        self._plan()

    def describe(self, id: str, meta: Mapping[str, Any]) -> None:
        """A subscriber says something else of itself. Of a crowd that is told nobody."""
        member = self._members.get(id)
        if member is None or member.meta == meta:
            return
        member.meta = meta
        if id not in self._new and not self._is_crowd:
            self._changed[id] = member
            self._plan()

    def left(self, id: str) -> None:
        """A subscriber has gone. It counts as there until its grace is over."""
        if id in self._members and id not in self._leaving:
            self._leaving[id] = self._node.clock.monotonic() + self._node.settings.PRESENCE_GRACE
            self._plan()

    def ended(self) -> None:
        """The stream was broken off: everybody is expected to come back."""
        for id in self._members:
            self.left(id)

    def seen(self) -> dict[str, Present]:
        """Everybody, by user. From any thread."""
        found = {}
        for user, connections in list(self._users.items()):
            members = tuple(connections.values())
            if members:
                at = {one.name: copy.deepcopy(one.shown) for one in members}
                found[user] = Present(user=user, info=members[-1].info, connections=at)
        return found

    def snapshot(self) -> dict[str, Any]:
        """What a new subscriber is told: what changed lately and is about to be told may be part of it."""
        users = None
        if self._is_crowd:
            self._unlisted = True
        else:
            users = _listed(self._members.values())
        return {**self._head(), "users": users, "grace": self._node.settings.PRESENCE_GRACE}

    def _head(self) -> dict[str, Any]:
        anonymous = len(self._users.get("", ()))
        users = len(self._users) - (1 if anonymous else 0)
        count = {"users": users, "anonymous": anonymous, "connections": len(self._members)}
        return {"run": self._run, "rev": self._rev, "count": count}

    def _leaver(self, key: str) -> Member | None:
        return next((one for id, one in self._users.get(key, {}).items() if id in self._leaving), None)

    def _remove(self, member: Member) -> None:
        self._leaving.pop(member.id, None)
        self._changed.pop(member.id, None)
        del self._members[member.id]
        connections = self._users[member.user]
        del connections[member.id]
        if not connections:
            del self._users[member.user]
        if self._new.pop(member.id, None) is None:  # else nobody was told that it came
            self._gone.append(member)

    # Telling

    def _plan(self) -> None:
        """See to it that what is due next is done. One timer, and none when nothing changes."""
        now = self._node.clock.monotonic()
        moments = [next(iter(self._leaving.values()))] if self._leaving else []
        if self._untold:
            moments.append(max(now + PROMPT, self._told_at + self._node.settings.PRESENCE_INTERVAL))
        if not moments:
            return
        when = min(moments)
        if self._timer is not None:
            if self._timer[0] <= when:
                return
            self._timer[1].cancel()
        self._timer = when, self._node.clock.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._node.clock.monotonic()
        while self._leaving:
            id, until = next(iter(self._leaving.items()))
            if until > now:
                break
            self._remove(self._members[id])
        if self._untold and now >= self._told_at + self._node.settings.PRESENCE_INTERVAL:
            self._told_at = now
            self._tell()
        if self.empty:
            self._node.presences.forget(self._address)
        else:
            self._plan()

    @property
    def _untold(self) -> bool:
        return bool(self._new or self._gone or self._changed)

    def _tell(self) -> None:
        came, gone = [*self._new.values(), *self._changed.values()], self._gone
        self._new, self._gone, self._changed = {}, [], {}
        self._rev += 1
        activation = self._node.find(self._address)
        if activation is None or not activation.subscribed:
            return
        found: dict[str, Any] = {"actor": self._address.actor, "key": self._address.key, **self._head()}
        if self._is_crowd:
            found["users"] = None
            self._unlisted = True
        elif self._unlisted:
            found["users"] = _listed(self._members.values())
            self._unlisted = False
        else:
            found["joins"] = _listed(came)
            found["leaves"] = _named(gone)
        activation.stream.tell("lm.presence", codec.encode_json(found))

    @property
    def _is_crowd(self) -> bool:
        limit = self._node.settings.PRESENCE_LIMIT
        return len(self._members) > (limit * AGAIN if self._unlisted else limit)


class Presences:
    """Who follows the actors of one node. It outlives activations: an actor that is replaced keeps its visitors."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._all: dict[Address, Presence] = {}

    def join(self, activation: Activation, call: Subscription) -> dict[str, Any] | None:
        """A subscriber is there. What it is told; None where the class doesn't want presence."""
        shown = activation.schema.presence
        if shown is None:
            return None
        found = self._all.get(activation.address)
        if found is None:
            found = self._all[activation.address] = Presence(self._node, activation.address)
        found.join(call.caller or "", call.user, shown, call.meta)
        return found.snapshot()

    def describe(self, address: Address, id: str, meta: Mapping[str, Any]) -> None:
        """A subscriber says something else of itself."""
        found = self._all.get(address)
        if found is not None:
            found.describe(id, meta)

    def left(self, address: Address, id: str) -> None:
        """A subscriber has gone."""
        found = self._all.get(address)
        if found is not None:
            found.left(id)

    def ended(self, address: Address) -> None:
        """The stream was broken off."""
        found = self._all.get(address)
        if found is not None:
            found.ended()

    def forget(self, address: Address) -> None:
        """Nobody is there any more."""
        self._all.pop(address, None)

    def seen(self, address: Address) -> dict[str, Present]:
        """Everybody who follows that actor, by user. From any thread."""
        found = self._all.get(address)
        return found.seen() if found is not None else {}


def _key_of(user: Any) -> str:
    return str(user.pk) if user is not None and getattr(user, "is_authenticated", False) else ""


def _info(user: Any, shown: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in shown if _key_of(user) else ():
        try:
            value = getattr(user, name)
        except Exception:  # a property of the project's, or one that would ask the database
            logger.exception("%s of a user can't be shown.", name, extra={"action": "presence_info_failed"})
            value = None
        found[name] = value if isinstance(value, _PLAIN) else str(value)
    return found


def _listed(members: Iterable[Member]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in members:
        user = found.setdefault(one.user, {"info": one.info, "connections": {}})
        user["connections"][one.name] = one.shown
    return found


def _named(members: Iterable[Member]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in members:
        found.setdefault(one.user, []).append(one.name)
    return found
