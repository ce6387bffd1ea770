"""Actors with every kind of type hint, and with names that are awkward in TypeScript."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec

from lightmoon_django import actor, event, message

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    """Where something is."""

    x: int
    y: int = 0


class Shape(TypedDict):
    name: str
    corners: list[Point]
    note: NotRequired[str | None]


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square"):
    side: float
    inner: Circle | Square | None = None


class Pair(msgspec.Struct, array_like=True):
    first: int
    second: str = ""


class Page(msgspec.Struct, Generic[T]):
    items: list[T]
    total: int


class State(msgspec.Struct):
    """Called like something that the module exports itself."""

    on: bool


class Promise(TypedDict):
    """Called like something of JavaScript."""

    kept: bool


@actor(view=["title", "price", "until", "color", "origin", "data"])
class Studio:
    """Has everything."""

    title: str = ""
    price: decimal.Decimal = decimal.Decimal(0)
    until: datetime.datetime | None = None
    color: Color = Color.RED
    origin: Point | None = None
    data: Any = None

    @message(exposed=True)
    async def scalars(self, a: int, b: float, c: str, d: bool, e: None, f: bytes) -> None: ...

    @message(exposed=True)
    async def texts(
        self, amount: decimal.Decimal, at: datetime.datetime, day: datetime.date, ident: uuid.UUID
    ) -> tuple[decimal.Decimal, datetime.timedelta]:
        """What travels as a text.

        In both directions.
        """
        return amount, datetime.timedelta()

    @message(exposed=True)
    async def choose(self, color: Color, level: Level, mode: Literal["a", 1, None] = None) -> Color | Level:
        return color

    @message(exposed=True)
    async def draw(self, shape: Shape, figure: Circle | Square, pair: Pair) -> Page[Point]:
        return Page([], 0)

    @message(exposed=True)
    async def bags(
        self, names: set[str], counts: dict[str, int], rest: tuple[int, ...], odd: list[Any]
    ) -> dict[str, Any]:
        return {}

    @message(exposed=True)
    async def visit(self, other: Studio, them: list[Studio] | None = None) -> Studio:
        return other

    @message(exposed=True)
    async def words(self, default: int, new: str = "", delete: bool = False) -> State:
        """Parameters called like reserved words."""
        return State(True)

    @message(exposed=True)
    async def delete(self, promise: Promise) -> Promise:
        return promise

    @event
    def drawn(self, shape: Shape, by: str | None) -> None:
        """Something was drawn. */"""

    @event
    def emptied(self) -> None: ...


@actor
class Function:
    """Called like a class of JavaScript, and shows nothing."""

    @message(exposed=True)
    async def run(self) -> int:
        return 1


@actor
class any:
    """Called like nothing may be called in TypeScript."""

    @message(exposed=True)
    async def run(self) -> int:
        return 1
