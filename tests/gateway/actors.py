"""Actors in memory, for tests of the way to them."""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal
from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.permissions import AllowAny, BasePermission, IsAuthenticated

from lightmoon_django import actor, event, message, turn
from lightmoon_django.errors import Rejected


class Member(BasePermission):
    """Blocks as one that asks the database does. `allowed` is the truth of the moment."""

    allowed = True
    asked = 0
    message = "Members only."

    def has_permission(self, request: Any, view: Any) -> bool:
        type(self).asked += 1
        return self.allowed and view.kwargs["key"] != "closed"


class Awaited(BasePermission):
    """Judged on the event loop."""

    async def has_permission(self, request: Any, view: Any) -> bool:
        await asyncio.sleep(0)
        return bool(view.kwargs["key"] == "open")


class Broken(BasePermission):
    """Fails where it should answer."""

    def has_permission(self, request: Any, view: Any) -> bool:
        raise RuntimeError("the secret of the permission class")


class ByObject(BasePermission):
    """Looks at a row, which an actor in memory has not."""

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return True


class AwaitedObject(Awaited):
    """Looks at a row too."""

    def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return True


class ByObjectAwaited(BasePermission):
    """Looks at a row where nobody awaits it."""

    async def has_object_permission(self, request: Any, view: Any, obj: Any) -> bool:
        return False


@actor(permission_classes=[AllowAny])
class Desk:
    """What anybody may call."""

    count: int

    @message(exposed=True)
    async def add(self, amount: int = 1) -> int:
        """Count."""
        self.count = getattr(self, "count", 0) + amount
        return self.count

    @message(exposed=True)
    async def price(self, amount: Decimal, note: str = "none") -> Decimal:
        return amount

    @message(exposed=True)
    async def refuse(self) -> None:
        raise Rejected("Not today.", code="not_today", data={"try": "tomorrow"})

    @message(exposed=True)
    async def stumble(self) -> None:
        raise RuntimeError("the secret of the handler")

    @message(exposed=True)
    async def wait(self) -> str:
        await asyncio.get_running_loop().create_future()
        return "never"

    @message(exposed=True)
    async def large(self, size: int) -> str:
        return "x" * size

    @message
    async def hidden(self) -> int:
        raise AssertionError("A message that is not exposed ran.")

    async def plain(self) -> int:
        raise AssertionError("A method that is no message ran.")

    @message(exposed=True, permission_classes=[IsAuthenticated])
    async def private(self) -> str:
        return "in"

    @message(exposed=True, permission_classes=[Member])
    async def members(self) -> str:
        return "in"

    @message(exposed=True, permission_classes=[Awaited])
    async def awaited(self) -> str:
        return "in"

    @message(exposed=True, permission_classes=[Broken])
    async def broken(self) -> str:
        return "in"

    @message(exposed=True, permission_classes=[ByObject])
    async def by_object(self) -> str:
        return "in"

    @message(exposed=True, permission_classes=[AwaitedObject])
    async def awaited_object(self) -> str:
        return "in"

    @message(exposed=True)
    async def remind(self, when: datetime.datetime) -> str:
        return "yes"

    @event
    def rung(self, times: int) -> None:
        """Somebody rang."""


@actor(permission_classes=[Member])
class Club:
    """Who may listen is asked of the database."""

    @event
    def met(self) -> None:
        """They met."""


@actor
class Office:
    """For users only, as the project's default says."""

    @message(exposed=True)
    async def whoami(self) -> str:
        return "somebody"

    @event
    def moved(self) -> None:
        """It moved."""


class Staff(BasePermission):
    """Blocks, and asks the user."""

    def has_permission(self, request: Any, view: Any) -> bool:
        assert request.method == "GET"
        return bool(request.user.is_staff)


class Faulty(BasePermission):
    """Fails where it should answer."""

    def has_permission(self, request: Any, view: Any) -> bool:
        raise RuntimeError("the secret of the permission class")


@actor(permission_classes=[AllowAny], subscription_permission_classes=[IsAuthenticated])
class Ward:
    """Some of its events are not for everybody."""

    @message(exposed=True)
    async def treat(self, name: str) -> None:
        self.admitted(number=1)
        self.diagnosed(name=name)
        self.logged(text=name)
        self.admitted(number=2)

    @event
    def admitted(self, number: int) -> None:
        """For all who may listen."""

    @event(permission_classes=[Staff])
    def diagnosed(self, name: str) -> None:
        """For the staff."""

    @event(permission_classes=[Faulty])
    def logged(self, text: str) -> None:
        """For nobody, as its permission class is broken."""


@actor(permission_classes=[AllowAny])
class Square:
    """Anybody may listen, and some events are not for everybody."""

    @message(exposed=True)
    async def watch(self, name: str) -> None:
        self.suspected(name=name)

    @event(permission_classes=[Staff])
    def suspected(self, name: str) -> None:
        """For the staff."""

    @event(permission_classes=[Member])
    def welcomed(self, name: str) -> None:
        """For members."""


@actor(permission_classes=[AllowAny], presence=["username", "email"])
class Foyer:
    """Everybody sees who is there."""

    log: list[str]

    async def on_activate(self) -> None:
        self.log = []

    async def on_subscribe(self) -> None:
        self.log = [*self.log, f"+{turn.user}"]

    async def on_unsubscribe(self) -> None:
        self.log = [*self.log, f"-{turn.user}"]

    @message(exposed=True)
    async def visitors(self) -> dict[str, int]:
        return {user: len(found.connections) for user, found in turn.presence.items()}

    @message(exposed=True)
    async def devices(self) -> list[Any]:
        return [one.get("meta") for found in turn.presence.values() for one in found.connections.values()]

    @message(exposed=True)
    async def visits(self) -> list[str]:
        return self.log


class TableState(serializers.Serializer[Any]):
    """All see the pot, and each player its own cards."""

    made: ClassVar[list[Any]] = []  # for whom it was rendered

    pot = serializers.IntegerField()
    hand = serializers.SerializerMethodField()

    def get_hand(self, table: Any) -> list[str]:
        viewer = self.context["viewer"]
        self.made.append(viewer)
        found: list[str] = table.hands.get(viewer, [])
        return found


@actor(permission_classes=[AllowAny], view=TableState)
class Table:
    """Who is seated sees something that nobody else sees."""

    pot: int = 0
    hands: dict[str, list[str]] = {}

    def view_for(self, user: Any) -> str | None:
        return user.username if user.username in self.hands else None

    @message(exposed=True)
    async def deal(self, name: str, cards: list[str]) -> None:
        self.hands = {**self.hands, name: cards}

    @message(exposed=True)
    async def bet(self, amount: int = 1) -> None:
        self.pot += amount
        self.betted(amount=amount)

    @message(exposed=True)
    async def fold(self, name: str) -> None:
        self.hands = {player: cards for player, cards in self.hands.items() if player != name}

    @event
    def betted(self, amount: int) -> None:
        """Somebody bet."""


@actor(permission_classes=[AllowAny], view=["total"])
class Tally:
    """All see the same."""

    total: int = 0

    @message(exposed=True)
    async def add(self, n: int = 1) -> int:
        self.total += n
        return self.total


@actor(permission_classes=[AllowAny], view={"guest": ["title"], "staff": ["title", "reserve"]})
class Lot:
    """Two views by name."""

    title: str = "Lamp"
    reserve: int = 0
    broken: bool = False
    insiders: ClassVar[set[str]] = set()  # what no signal tells of

    def view_for(self, user: Any) -> str:
        if self.broken:
            return "nobody's"
        return "staff" if getattr(user, "is_staff", False) or user.username in self.insiders else "guest"

    @message(exposed=True)
    async def alter(self, title: str | None = None, reserve: int | None = None, broken: bool = False) -> None:
        self.title = self.title if title is None else title
        self.reserve = self.reserve if reserve is None else reserve
        self.broken = broken


@actor
class Cellar:
    """Nothing of it is for clients."""

    @message
    async def dig(self) -> None:
        raise AssertionError("A message that is not exposed ran.")
