"""A stream of another node's, put into order for those who follow it here (B55, design §9.12)."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from lightmoon_django.cluster.mirror import EARLY, Mirror, Order
from lightmoon_django.cluster.mirrors import GRACE, PATIENCE, Mirrors
from lightmoon_django.identity import Address, Position
from lightmoon_django.testing.clock import ManualClock
from tests.cluster.stations import ROOM, Session

OWNER = 7
HALL = Address("test.Room", "b")


def frame(seq: int, epoch: str = "e") -> str:
    return json.dumps({"params": {"epoch": epoch, "seq": seq, "data": seq}})


class Slow(Session):
    """Leaves when it has heard so much, or when it is reset, as a client does that reads too slowly."""

    def __init__(self, name: str, desk: Desk, most: int) -> None:
        super().__init__(name)
        self.desk = desk
        self.most = most

    def push(self, frame: str) -> None:
        assert self.follows, f"{self.id} hears something after it has left"
        super().push(frame)
        if len(self.heard) == self.most:
            self.leave(ROOM)

    def reset(self, address: Address, reason: str) -> None:
        self.resets.append(reason)
        for other in (ROOM, HALL):
            self.leave(other)

    def leave(self, address: Address) -> None:
        self.follows = None
        self.desk.mirrors.leave(address, self.id)


class Desk:
    """Mirrors of one node, and what they want of others. Implements `mirrors.Source`."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.mirrors = Mirrors(self.clock, self)
        self.asked: list[int] = []
        self.groups: list[str] = []
        self.unknown = 0

    def ask(self, mirror: Mirror) -> None:
        self.asked.append(mirror.wanted)

    def began(self, mirror: Mirror) -> None:
        self.groups.append("+")

    def ended(self, mirror: Mirror, *, known: bool) -> None:
        self.groups.append("-")
        self.unknown += not known

    def join(self, session: Session, seq: int, epoch: str = "e", owner: int = OWNER) -> None:
        session.joined(ROOM, Position(epoch, seq))
        self.mirrors.join(ROOM, owner, Position(epoch, seq), session, True)

    def receive(self, *numbers: int, epoch: str = "e", owner: int = OWNER) -> None:
        for number in numbers:
            self.mirrors.receive(owner, ROOM, epoch, number, (frame(number, epoch),))

    def after(self, seq: int, then: Any) -> None:
        self.mirrors.after(OWNER, ROOM, Position("e", seq), then)


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_comes_out_in_order_once_each(seed: int) -> None:
    rng = random.Random(seed)
    numbers = [number for number in range(1, 101) for _ in range(rng.choice((1, 1, 2)))]
    numbers.sort(key=lambda number: number + rng.random() * 10)
    order, found = Order(0), list[str]()
    for number in numbers:
        found += order.take(number, str(number))
    assert found == [str(number) for number in range(1, 101)]
    assert not order.early


def test_what_is_kept_while_something_is_missing_is_bounded() -> None:
    order = Order(0)
    for number in range(2, 5 * EARLY):
        assert order.take(number, "x") == []
    assert len(order.early) == EARLY


def test_a_gap_is_asked_for_after_a_moment_and_once() -> None:
    desk, session = Desk(), Session("s")
    desk.join(session, 0)
    desk.receive(1, 3, 2)
    desk.clock.advance(10 * GRACE)
    assert desk.asked == [], "It was only out of order."
    desk.receive(5, 6)
    desk.clock.advance(GRACE / 2)
    assert desk.asked == []
    for _ in range(20):
        desk.clock.advance(GRACE)
    assert desk.asked == [3]
    desk.receive(4)
    assert session.heard == [1, 2, 3, 4, 5, 6]


def test_a_gap_that_nobody_closes_ends_in_a_reset() -> None:
    """The owner is silent, and not known to be dead. It is told, should it live."""
    desk, session = Desk(), Session("s")
    desk.join(session, 0)
    desk.mirrors.heard(OWNER, ROOM, Position("e", 2))
    replies: list[str] = []
    desk.after(2, lambda: replies.append("too late to wait longer"))
    for _ in range(int(PATIENCE / GRACE) + 3):
        desk.clock.advance(GRACE)
    assert session.resets == ["gap"]
    assert len(replies) == 1
    assert (desk.groups, desk.unknown) == (["+", "-"], 1)
    assert desk.mirrors.get(ROOM) is None


def test_who_joins_behind_the_others_gets_what_they_have_and_then_the_same() -> None:
    """A cast has overtaken the answer to the subscription."""
    desk, early, late = Desk(), Session("early"), Session("late")
    desk.join(early, 0)
    desk.receive(1, 2, 3)
    desk.join(late, 1)
    replies: list[int] = []
    desk.after(3, lambda: replies.append(late.position.seq))
    desk.receive(4)
    assert (early.position.seq, late.position.seq, replies) == (4, 1, [])
    for _ in range(3):
        desk.clock.advance(GRACE)
    assert desk.asked == [1]
    desk.receive(2, 3)
    assert late.heard == [2, 3, 4]
    desk.receive(5)
    assert (early.position.seq, late.position.seq, replies) == (5, 5, [4])


def test_a_reply_waits_no_longer_for_who_has_gone() -> None:
    desk, early, late = Desk(), Session("early"), Session("late")
    desk.join(early, 0)
    desk.receive(1, 2)
    desk.join(late, 1)
    replies: list[int] = []
    desk.after(2, lambda: replies.append(2))
    assert replies == []
    assert desk.mirrors.leave(ROOM, "late") == OWNER
    assert replies == [2]
    desk.after(3, lambda: replies.append(3))
    assert desk.mirrors.leave(ROOM, "early") == OWNER
    assert replies == [2, 3]
    assert desk.groups == ["+", "-"]


def test_frames_of_another_epoch_or_node_are_no_frames_of_this_stream() -> None:
    desk, session = Desk(), Session("s")
    desk.join(session, 0)
    desk.receive(1, epoch="d")
    desk.receive(1, epoch="f")
    desk.receive(1, owner=8)
    assert session.heard == []
    desk.receive(1)
    assert session.heard == [1]


def test_a_stream_that_has_moved_is_reset_for_who_followed_it_there() -> None:
    desk, old, new = Desk(), Session("old"), Session("new")
    desk.join(old, 4)
    desk.join(new, 0, epoch="f", owner=8)
    assert old.resets == ["moved"]
    desk.receive(1, epoch="f", owner=8)
    assert new.heard == [1]
    assert desk.unknown == 1, "The node where it was may not know."


def test_a_reply_does_not_wait_for_a_stream_that_nobody_here_follows() -> None:
    desk, replies = Desk(), list[int]()
    desk.after(9, lambda: replies.append(1))
    desk.join(Session("s"), 0, epoch="f")
    desk.after(9, lambda: replies.append(2))
    assert replies == [1, 2]


def test_a_subscription_that_waits_when_the_stream_ends_is_answered_and_reset() -> None:
    desk, first, second = Desk(), Session("first"), Session("second")
    desk.join(first, 0)
    desk.after(3, lambda: desk.join(second, 3))
    desk.mirrors.ended(OWNER, ROOM, "it moved")
    assert (first.resets, second.resets) == (["it moved"], ["it moved"])
    assert desk.groups == ["+", "-"]


def test_who_joins_behind_the_others_hears_nothing_before_its_frames() -> None:
    """A reply, or what has no number, that was due for the others waits for who has just come with less."""
    desk, session, late = Desk(), Session("s"), Session("late")
    replies: list[int] = []
    desk.join(session, 0)
    desk.after(3, lambda: desk.join(late, 3))
    desk.after(4, lambda: replies.append(late.position.seq))
    assert desk.mirrors.aside(OWNER, ROOM, Position("e", 4), '{"params": {"behind": 4}}')
    desk.mirrors.receive(OWNER, ROOM, "e", 1, tuple(map(frame, range(1, 6))))
    assert late.follows
    assert (replies, session.asides, late.asides) == ([], [], [])
    desk.receive(4)
    assert (replies, session.asides, late.asides) == ([4], [4], [4])
    desk.receive(5)
    assert late.heard == [4, 5]


def test_what_has_no_number_is_no_gap_and_counts_for_its_own_epoch_alone() -> None:
    desk, session = Desk(), Session("s")
    assert not desk.mirrors.aside(OWNER, ROOM, Position("e", 0), '{"params": {"behind": 0}}'), "Nobody follows."
    desk.join(session, 0)
    desk.receive(1)
    for epoch in ("e", "before"):
        assert desk.mirrors.aside(OWNER, ROOM, Position(epoch, 1), '{"params": {"behind": 1}}')
    desk.receive(2)
    desk.clock.advance(10 * GRACE)
    assert (session.heard, session.asides, desk.asked) == ([1, 2], [1], [])


def test_a_stream_that_its_last_follower_leaves_while_it_is_handed_out_is_chased_no_more() -> None:
    """B59: a client that reads too slowly. Who follows anew is not reset for the old gap."""
    desk = Desk()
    slow, other = Slow("slow", desk, 1), Session("other")
    desk.join(slow, 0)
    desk.receive(3, 1)
    desk.join(other, 1)
    desk.receive(3)
    for _ in range(3):
        desk.clock.advance(GRACE)
    assert desk.asked == [1]
    desk.receive(2)
    for _ in range(int(PATIENCE / GRACE) + 3):
        desk.clock.advance(GRACE)
    assert (other.heard, other.resets) == ([2, 3], [])
    assert (desk.groups, desk.unknown) == (["+", "-", "+"], 0)


def test_a_stream_that_ends_with_another_one_is_ended_once() -> None:
    """Its only follower is reset for the other one, and leaves this one too: nothing is asked for any more."""
    desk = Desk()
    slow = Slow("slow", desk, 99)
    for address in (ROOM, HALL):
        desk.mirrors.join(address, OWNER, Position("e", 0), slow, True)
        desk.mirrors.heard(OWNER, address, Position("e", 1))
    for _ in range(int(PATIENCE / GRACE) + 3):
        desk.clock.advance(GRACE)
    assert slow.resets == ["gap"]
    assert (desk.groups, desk.unknown) == (["+", "+", "-", "-"], 1)


def test_a_reply_that_makes_the_last_one_leave_lets_the_others_through() -> None:
    """Nothing comes any more, so nothing is to be waited for: it would be answered at its deadline."""
    desk, session = Desk(), Session("s")
    replies: list[int] = []

    def first() -> None:
        replies.append(1)
        desk.mirrors.leave(ROOM, "s")  # it is too much for its outbox, say

    desk.join(session, 0)
    desk.after(1, first)
    desk.after(2, lambda: replies.append(2))
    desk.receive(1)
    assert replies == [1, 2]


def one_who_catches_up() -> tuple[Desk, Slow]:
    """Another one has heard three frames already. It leaves when it hears the first."""
    desk = Desk()
    slow = Slow("slow", desk, 1)
    desk.join(Session("early"), 0)
    desk.receive(1, 2, 3)
    desk.join(slow, 0)
    return desk, slow


def test_who_leaves_while_it_catches_up_hears_nothing_more() -> None:
    desk, slow = one_who_catches_up()
    desk.receive(3, 2, 1)
    assert slow.heard == [1]


def test_who_leaves_and_joins_again_while_it_catches_up_begins_where_it_joined() -> None:
    """B55: the answer to its second subscription had waited for it, and has an earlier position."""
    desk, slow = one_who_catches_up()
    desk.after(1, lambda: desk.join(slow, 0))
    desk.receive(3, 2, 1)
    assert slow.heard == [1]
    desk.receive(1, 2, 3)
    assert slow.heard == [1, 1, 2, 3]


def test_who_joins_again_follows_though_those_who_waited_for_it_leave() -> None:
    """B55: the answer to a subscription that is not wanted any more had waited for it, and ends the stream here."""
    desk, early, late, gone = Desk(), Session("early"), Session("late"), Session("gone")

    def answered() -> None:
        desk.join(gone, 3)
        desk.mirrors.leave(ROOM, "gone")

    desk.join(early, 0)
    desk.receive(1, 2, 3)
    desk.join(late, 1)
    desk.after(3, answered)
    desk.mirrors.leave(ROOM, "early")
    desk.join(late, 3)
    desk.receive(4)
    assert late.heard == [4]
