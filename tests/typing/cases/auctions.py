"""What a type checker must see. Comments say what reveal_type says (R) and which error must be there (E)."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, reveal_type

from lightmoon_django import actor, event, every, message, ref, turn
from lightmoon_django.client import Client


@actor(view=["title"])
class Auction:
    title: str = ""
    price: Decimal = Decimal(0)

    @message(exposed=True, timeout=2)
    async def bid(self, amount: Decimal, note: str = "") -> Decimal:
        """Raise the price to `amount`."""
        self.price = amount
        self.outbid(amount=amount, by="somebody")
        self.outbid(amount="much", by="somebody")  # E: arg-type
        self.outbid(amount=amount)  # E: call-arg
        reveal_type(await self.close())  # R: str
        self.close.tell()
        return self.price

    @message
    async def close(self) -> str:
        return self.title

    @message
    def audit(self, since: int) -> list[str]:
        reveal_type(turn.id)  # R: str
        return [self.title]

    @message(read_only=True)
    def count(self) -> int:
        return 1

    @event
    def outbid(self, amount: Decimal, by: str) -> None:
        """Somebody bid more."""


async def asks() -> None:
    auction = ref(Auction, 42)
    reveal_type(auction)  # R: tests.typing.cases.auctions.Auction
    reveal_type(await auction.bid(Decimal(1)))  # R: decimal.Decimal
    reveal_type(await auction.bid(amount=Decimal(1), note="mine"))  # R: decimal.Decimal
    reveal_type(await auction.audit(3))  # R: list[str]
    reveal_type(await auction.bid.options(timeout=2)(Decimal(1)))  # R: decimal.Decimal
    await auction.bid("1")  # E: arg-type
    await auction.bid()  # E: call-arg
    await auction.bid(Decimal(1), price=2)  # E: call-arg
    await auction.sell()  # E: attr-defined


def asks_blocking() -> None:
    auction = ref(Auction, 42)
    reveal_type(auction.bid.sync(Decimal(1)))  # R: decimal.Decimal
    reveal_type(auction.audit.sync(since=1))  # R: list[str]
    reveal_type(auction.count.sync())  # R: int
    reveal_type(auction.bid.options(timeout=1.5).sync(Decimal(1)))  # R: decimal.Decimal
    auction.bid.sync(1.5)  # E: arg-type
    auction.audit.sync()  # E: call-arg
    auction.bid.tell(Decimal(1))
    auction.bid.tell(b"1")  # E: arg-type
    auction.bid.options(timout=1)  # E: call-arg


async def asks_from_elsewhere(client: Client) -> None:
    auction = client.ref(Auction, 42)
    reveal_type(auction)  # R: tests.typing.cases.auctions.Auction
    reveal_type(await auction.bid(Decimal(1)))  # R: decimal.Decimal
    reveal_type(await auction.bid.options(call_id="mine")(amount=Decimal(1)))  # R: decimal.Decimal
    auction.bid.tell(Decimal(1))
    await auction.bid("1")  # E: arg-type
    await auction.sell()  # E: attr-defined
    client.ref("chat.Room", 42)  # E: arg-type
    reveal_type(client.actor(Auction, 42))  # R: lightmoon_django.client.actor.Actor
    reveal_type(await client.actor("chat.Room", "42").say("hi"))  # R: Any


async def reminds(when: datetime.datetime) -> None:
    auction = ref(Auction, 42)
    reveal_type(auction.bid.at(when, Decimal(1)))  # R: lightmoon_django.actor.reminder.Reminder
    await auction.bid.at(when, amount=Decimal(1))
    await auction.bid.after(1.5, Decimal(1))
    await auction.bid.every(datetime.timedelta(hours=1), Decimal(1))
    await auction.bid.every(Decimal(1), cron="0 4 * * *")
    await auction.bid.options(name="second", catch_up="all").every(60, Decimal(1))
    await auction.bid.cancel()
    auction.audit.after(1, since=1).sync()
    await auction.bid.at(when)  # E: call-arg
    await auction.bid.at(when, "1")  # E: arg-type
    await auction.bid.at(5, Decimal(1))  # E: arg-type
    await auction.bid.after("5", Decimal(1))  # E: arg-type


@actor
class Loop:
    @every(1 / 60)
    async def frame(self) -> None: ...

    @every(1)  # E: arg-type
    def plain(self) -> None: ...

    @message
    async def by_hand(self) -> None:
        await self.frame()


def declares() -> Any:
    @message(exposd=True)  # E: call-overload, untyped-decorator
    async def misspelled(self: Any) -> None: ...

    @event  # E: arg-type
    def answers(self: Any) -> int:
        return 1

    return misspelled, answers
