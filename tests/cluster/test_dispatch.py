"""Calls whose actor is not in memory: which way they go, and in which order."""

from __future__ import annotations

from typing import Any

from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Call
from lightmoon_django.cluster.dispatch import Dispatch
from lightmoon_django.cluster.forwarding import Forwarding
from lightmoon_django.cluster.placement import Placement
from lightmoon_django.identity import Endpoint
from lightmoon_django.messages import Answer, Bounce
from lightmoon_django.testing.clock import ManualClock
from tests.cluster.test_forwarding import Frames, Noted
from tests.live.placed import Levelled

ME, OTHER, OWNER = 1, 2, 20


class Reminding(Noted):
    """As a reminder's."""

    __slots__ = ()

    finishes = True


class Node:
    """One that has more to do than the other one. Implements `dispatch.Rows`, and knows who is there."""

    def __init__(self) -> None:
        clock = ManualClock()
        living = {OTHER: Endpoint("h", network=OTHER)}
        placement = Placement(ME, frozenset(), living=lambda: living, looked=lambda: True, load=lambda: 1000)
        self.frames = Frames()
        self.forwarding = Forwarding(ME, self.frames, clock, self.post, lambda *_: None, lambda *_: False)
        peers: Any = self
        self.dispatch = Dispatch(
            ME, rows=self, peers=peers, placement=placement, forwarding=self.forwarding, clock=clock
        )
        self.here: list[Call] = []  # came to an activation of this node's
        self.told: Any = None

    def post(self, call: Call) -> None:
        if self.here or not self.dispatch.takes(call):
            self.here.append(call)

    def places(self, schema: Any) -> bool:
        return True

    def owner(self, schema: Any, key: str, told: Any) -> None:
        self.told = told

    def release(self, call: Call) -> None:
        raise NotImplementedError

    def network_of(self, incarnation: int) -> int:
        return {OWNER: OTHER}[incarnation]

    def calls(self, *kinds: type[Noted]) -> list[Noted]:
        message = registry.schema_of(Levelled).messages["add"]
        found = [kind(message, "a", None, message.signature.bind((1,), {}), 2000.0) for kind in kinds]
        for one in found:
            self.post(one)
        return found


def test_a_reminder_waits_its_turn_while_the_owner_is_looked_up() -> None:
    """B9: or the actor would come up here, and later calls would overtake those that wait."""
    node = Node()
    calls = node.calls(Noted, Noted, Reminding, Noted)
    assert node.here == []
    node.told(0)
    assert node.here == calls


def test_a_reminder_does_not_leave_the_node_that_has_claimed_it() -> None:
    """B9: the calls go where the actor is, and it is claimed anew there."""
    node = Node()
    *_, reminder, last = node.calls(Noted, Reminding, Noted)
    node.told(OWNER)
    assert len(node.frames.sent) == 2
    assert reminder.ended == "Unavailable"
    assert not hasattr(last, "ended")


def test_a_reminder_does_not_bring_up_an_actor_to_which_calls_are_on_their_way() -> None:
    """B9: its row may have been given back a moment ago; they come back, and go first."""
    node = Node()
    node.calls(Noted)
    node.told(OWNER)
    (reminder,) = node.calls(Reminding)
    assert reminder.ended == "Unavailable"
    assert node.here == []
    node.forwarding.ended(OTHER, Answer(node.frames.sent[0].id, b""))
    assert node.here == []
    assert node.calls(Reminding) == node.here


def test_two_nodes_that_choose_each_other_leave_it_to_the_row() -> None:
    """Design §4: both have old news of the other's load, and a call on its way; each bounces the other's."""
    node = Node()
    (call,) = node.calls(Noted)
    for _ in range(10):
        if node.here:
            break
        node.told(None)
        node.forwarding.bounced(Bounce(node.frames.sent[-1].id, None))
    assert node.here == [call]


def test_no_message_of_a_project_can_have_the_name_of_a_system_message() -> None:
    """A node that is sent one by name would run the project's instead."""
    assert not any(name.isidentifier() for name in registry.schema_of(Levelled).system)
