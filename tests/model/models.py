"""The actor of the model-based tests: it runs plans, and keeps a ledger of the turns that it committed."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from django.db import models

from lightmoon_django import actor, event, every, message, ref
from lightmoon_django.errors import LightMoonError, Rejected


class Witness:
    """What turns saw, outside any transaction: outcomes of asks by the plan's id."""

    outcomes: ClassVar[dict[int, str]] = {}
    beats: ClassVar[int] = 0

    @classmethod
    def clear(cls) -> None:
        cls.outcomes.clear()


@actor
class Cell(models.Model):
    """`ledger` holds the id of every plan whose turn was committed, in order; `total` the sum of what they added."""

    total = models.BigIntegerField(default=0)
    ledger = models.JSONField(default=list)
    others = models.JSONField(default=dict)  # counts by kind, changed in place
    outside = models.IntegerField(default=0)  # written by code that knows nothing of actors
    beats = models.IntegerField(default=0)

    class Meta:
        app_label = "model"

    @every(0.01)
    async def beat(self) -> None:
        """Counts, and fails every now and then after it has counted."""
        self.beats += 1
        self.beaten(n=self.beats)
        Witness.beats += 1
        if Witness.beats % 7 == 0:
            raise Rejected("As planned.")

    @message
    async def run(self, plan: dict[str, Any]) -> int:
        """Carry out a plan in one turn. Answers the total."""
        return await self._run(plan)

    @message(read_only=True)
    async def read(self, plan: dict[str, Any]) -> int:
        total = self.total
        await asyncio.sleep(0)
        assert self.total == total, "a writer came in between"
        return total

    @message(reentrant=True)
    async def again(self, plan: dict[str, Any]) -> int:
        """The same within a turn that waits for it."""
        return await self._run(plan)

    @message(once=True)
    async def once(self, plan: dict[str, Any]) -> int:
        return await self._run(plan)

    @message
    async def later(self, plan: dict[str, Any]) -> None:
        """What reminders send."""
        await self._run(plan)

    @message
    def blocking(self, plan: dict[str, Any]) -> int:
        """The same in a worker's transaction, without asks."""
        self._enter(plan)
        for step in plan["steps"]:
            self._plain_step(step)
        return self.total

    @event
    def beaten(self, n: int) -> None:
        """The timer has ticked."""

    @event
    def ran(self, id: int, total: int) -> None:
        """A plan was carried out."""

    async def _run(self, plan: dict[str, Any]) -> int:
        self._enter(plan)
        for step in plan["steps"]:
            if step["do"] == "ask":
                await self._ask(step)
            elif step["do"] == "pause":
                await asyncio.sleep(0)
            else:
                self._plain_step(step)
        return self.total

    def _enter(self, plan: dict[str, Any]) -> None:
        self.ledger.append(plan["id"])
        self.ran(id=plan["id"], total=self.total)

    def _plain_step(self, step: dict[str, Any]) -> None:
        if step["do"] == "add":
            self.total += step["n"]
            self.others[step["kind"]] = self.others.get(step["kind"], 0) + 1
        elif step["do"] == "fail":
            raise Rejected("As planned.", data=step)
        elif step["do"] == "crash":
            raise ZeroDivisionError("As planned.")
        elif step["do"] == "tell":
            getattr(ref(Cell, step["to"]), step["how"]).tell(step["plan"])
        elif step["do"] == "remind":
            self.later.options(name=f"plan {step['plan']['id']}").after(step["delay"], step["plan"])

    async def _ask(self, step: dict[str, Any]) -> None:
        plan = step["plan"]
        try:
            await getattr(ref(Cell, step["to"]), step["how"])(plan)
        except LightMoonError as error:
            Witness.outcomes[plan["id"]] = error.code
            if not step["catch"]:
                raise
        else:
            Witness.outcomes[plan["id"]] = "ok"
