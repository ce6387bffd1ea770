"""Calls on their way to other nodes: what is sent anew, and in which order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lightmoon_django import messages
from lightmoon_django.actor import registry
from lightmoon_django.actor.call import Ask, Call, Subscription
from lightmoon_django.actor.repeat import identity
from lightmoon_django.cluster.forwarding import Forwarding
from lightmoon_django.cluster.lookups import Lookups
from lightmoon_django.cluster.sendwindow import MAX_FRAME
from lightmoon_django.errors import DeadlineExceeded, LightMoonError, OutcomeUnknown, Rejected
from lightmoon_django.identity import Position
from lightmoon_django.messages import Answer, Bounce
from lightmoon_django.testing.clock import ManualClock
from tests.live.models import Scratch, Tally


class Noted(Call):
    """Keeps how it ended."""

    __slots__ = ("ended",)

    def resolve(self, payload: bytes) -> None:
        self.ended = "resolved"

    def reject(self, error: LightMoonError) -> None:
        self.ended = type(error).__name__


class Following(Subscription):
    """Likewise."""

    __slots__ = ("ended", "hidden", "meta")

    resolve = Noted.resolve
    reject = Noted.reject

    def joined_late(self) -> None:
        self.ended += ", then joined"


class Frames:
    """Takes everything."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, peer: int, frame: bytes) -> None:
        self.sent.append(messages.decode(frame))

    post = send


def made(clock: ManualClock | None = None) -> tuple[Forwarding, Frames, list[Call], list[Noted]]:
    frames, posted = Frames(), []
    forwarding = Forwarding(1, frames, clock or ManualClock(), posted.append, lambda *_: None, lambda *_: False)
    message = registry.schema_of(Scratch).messages["add"]
    calls = [Noted(message, "a", None, message.signature.bind((n,), {}), 2000.0) for n in range(4)]
    return forwarding, frames, posted, calls


def test_what_bounced_is_sent_anew_in_order_after_all_that_was_sent() -> None:
    """B9: an answer on the way, a bounce, and a call that came between them."""
    forwarding, frames, posted, calls = made()
    for call in calls[:3]:
        forwarding.send(call, 7)
    first, second, third = (frame.id for frame in frames.sent)
    forwarding.bounced(Bounce(second, None))
    forwarding.send(calls[3], 7)
    assert len(frames.sent) == 3
    forwarding.bounced(Bounce(third, None))
    assert posted == []
    forwarding.ended(7, Answer(first, b""))
    assert calls[0].ended == "resolved"
    assert posted == calls[1:]
    generation = frames.sent[0].generation
    forwarding.send(calls[1], 7)
    assert frames.sent[-1].generation != generation


def test_what_a_leaving_node_never_ran_goes_another_way() -> None:
    """B42: nothing ends as OutcomeUnknown because a node stopped; a death leaves it in doubt."""
    forwarding, _, posted, calls = made()
    for call in calls[:2]:
        forwarding.send(call, 7)
    forwarding.left(7)
    assert posted == calls[:2]
    forwarding.send(calls[2], 8)
    forwarding.died(8)
    assert calls[2].ended == "OutcomeUnknown"


def test_a_process_with_a_new_name_sends_what_waited_another_way() -> None:
    """B31: what may have run is in doubt; what had not left, or only reads, is decided anew, in order."""
    forwarding, frames, posted, calls = made()
    read = Noted(registry.schema_of(Scratch).messages["get"], "a", None, b"", 2000.0)
    for call in (*calls[:2], read):
        forwarding.send(call, 7)
    forwarding.bounced(Bounce(frames.sent[0].id, None))
    forwarding.send(calls[2], 7)
    forwarding.let_go()
    assert calls[1].ended == "OutcomeUnknown"
    assert posted == [calls[0], read, calls[2]]
    forwarding.stop()
    assert not any(hasattr(call, "ended") for call in posted)


async def test_a_call_that_is_sent_again_as_its_node_died_is_never_said_not_to_have_run() -> None:
    """B42, B50: the first node may have run it before. One that never left is certain, and so is a refusal."""
    forwarding, frames, posted, _ = made()
    message = registry.schema_of(Tally).messages["pay"]
    late, unsent, refused = calls = [Ask(message, "1", None, b"", 2000.0) for _ in range(3)]
    for number, call in enumerate(calls):
        call.future = asyncio.get_running_loop().create_future()
        call.identity = identity(str(number), "", "live.Tally.pay", "1", b"")
        forwarding.send(call, 7)
    forwarding.died(7, [frames.sent[1].id])
    assert posted == calls
    forwarding.send(late, 8)
    forwarding.ended(8, messages.failure(frames.sent[3].id, DeadlineExceeded("It did not run.")))
    unsent.reject(DeadlineExceeded("It did not run."))
    refused.reject(Rejected("No."))
    for call, kind in zip(calls, (OutcomeUnknown, DeadlineExceeded, Rejected), strict=True):
        assert type(call.future.exception()) is kind


class Silent:
    """Knows nobody, and never answers."""

    def network_of(self, incarnation: int) -> None:
        return None

    def refresh(self, then: Any) -> None: ...


def looking(posted: list[Call], clock: ManualClock | None = None) -> Lookups:
    """Nothing is ever found."""
    return Lookups(
        1,
        Silent(),  # type: ignore[arg-type]
        clock or ManualClock(),
        lambda call, owner: None,
        posted.append,
        lambda schema, key, told: None,
        lambda schema: None,
        lambda calls: None,
    )


def test_a_process_with_a_new_name_looks_for_owners_anew() -> None:
    """B31: a call whose way is looked up has not left."""
    *_, calls = made()
    other = Noted(calls[2].message, "b", None, calls[2].payload, 2000.0)
    posted: list[Call] = []
    lookups = looking(posted)
    for call in calls[:2]:
        lookups.send(call, 7)
    lookups.place(other)
    lookups.let_go()
    lookups.stop()
    assert posted == [*calls[:2], other]
    assert not any(hasattr(call, "ended") for call in posted)


def test_a_call_that_was_taken_back_while_its_way_was_looked_up_does_not_leave() -> None:
    """B51: nobody else is asked to run it."""
    forwarding, frames, _, calls = made()
    calls[0].cancelled = True
    forwarding.send(calls[0], 7)
    forwarding.send(calls[1], 7)
    assert calls[0].ended == "Cancelled"
    assert len(frames.sent) == 1


def test_a_call_that_waits_for_its_way_or_its_answer_hears_when_its_deadline_passes() -> None:
    """B52: what never left did not run; what was sent may have. The sweep goes on for those that still have time."""
    clock = ManualClock()
    forwarding, _, _, calls = made(clock)
    lookups = looking([], clock)
    now = clock.monotonic()
    for call, seconds in zip(calls, (1.0, 5.0, 1.0, 5.0), strict=True):
        call.deadline, call.ended = now + seconds, ""
    for call in calls[:2]:
        forwarding.send(call, 7)
    for call in calls[2:]:
        lookups.send(call, 7)
    clock.advance(2.5)
    assert [call.ended for call in calls] == ["OutcomeUnknown", "", "DeadlineExceeded", ""]
    clock.advance(4.0)
    assert [call.ended for call in calls] == [
        "OutcomeUnknown",
        "OutcomeUnknown",
        "DeadlineExceeded",
        "DeadlineExceeded",
    ]
    assert (len(forwarding), len(lookups)) == (0, 1)  # an answer that is still on its way ends the search
    forwarding.stop()
    lookups.stop()
    clock.advance(10.0)


def following(deadline: float, since: Position | None = None) -> Any:
    found: Any = Following(registry.schema_of(Scratch).subscription, "a", None, b"", deadline)
    found.since, found.hidden, found.meta = since, frozenset(), None
    return found


def test_a_stream_that_is_joined_after_it_was_given_up_is_left_again() -> None:
    """B44, B52: Redis was away for longer than a subscription waits. Else its node would follow for nobody."""
    clock, joined = ManualClock(), list[tuple[Any, int, Position]]()
    frames = Frames()
    forwarding = Forwarding(1, frames, clock, print, lambda *one: joined.append(one), lambda *_: False)
    calls = [following(clock.monotonic() + 1.0) for _ in range(4)]
    for call in calls:
        forwarding.send(call, 7)
    clock.advance(2.5)
    assert {call.ended for call in calls} == {"OutcomeUnknown"}
    first, second, third, fourth = (frame.call.id for frame in frames.sent)
    forwarding.ended(7, Answer(first, b"", ("e", 3)))
    forwarding.ended(7, messages.failure(second, Rejected("No.")))
    forwarding.bounced(Bounce(third, None))
    forwarding.died(7)
    for id in (first, second, third, fourth):
        forwarding.ended(7, Answer(id, b"", ("e", 4)))
    assert joined == [(calls[0], 7, Position("e", 3))]
    assert [call.ended for call in calls] == ["OutcomeUnknown, then joined", *["OutcomeUnknown"] * 3]


def test_what_can_not_travel_is_refused_and_holds_up_nobody() -> None:
    """B80: a position of 70 bits, and a key that is no text, from Python, among calls that wait for the same look."""
    forwarding, frames, posted, calls = made()
    hostile = following(2000.0, Position("e", 2**70))
    broken = Noted(calls[0].message, "\ud800", None, calls[0].payload, 2000.0)
    waiting = [calls[0], hostile, broken, calls[1]]

    def owner(schema: Any, key: str, told: Any) -> None:
        told(7)

    peers: Any = SimpleNamespace(network_of=lambda incarnation: incarnation, refresh=None)
    lookups = Lookups(1, peers, ManualClock(), forwarding.send, posted.append, owner, lambda _: None, lambda _: None)
    lookups.waiting[calls[0].address] = waiting
    lookups._told(calls[0].schema, "a", 7)
    assert (hostile.ended, broken.ended) == ("InvalidParams", "InvalidParams")
    assert len(frames.sent) == 2
    assert len(forwarding) == 2


def test_an_error_whose_text_is_none_travels() -> None:
    """B80: the turn's caller hears of it, and the turns behind it go on."""
    failed = messages.decode(messages.encode(messages.failure(1, Rejected("no file \udcff", data={"name": "\udcff"}))))
    assert isinstance(failed, messages.Failure)
    assert messages.error_of(failed).message == "no file \\udcff"


class Picky(Rejected):
    """Calls something of its own by the name of something of ours."""

    @property
    def detail(self) -> object:
        return object()


class Closed(Rejected):
    """Can't be made without what it is about."""

    def __new__(cls, about: str) -> Closed:
        return super().__new__(cls)


NESTED: list[Any] = []
for _ in range(100_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Picky("no"), "Picky"),
        (Closed("no"), "Rejected"),
        (Rejected("no", data=b" " * 2**25), "Rejected"),
        (Rejected("no", data=NESTED), "Rejected"),
        (Rejected("no" * 2**24), "Rejected"),
    ],
)
def test_a_call_ends_whatever_the_actor_raises(error: Rejected, kind: str) -> None:
    """B18, B40, B80: also as a class that is hard to make, or too much for a link."""
    forwarding, frames, _, calls = made()
    forwarding.send(calls[0], 7)
    frame = messages.encode(messages.failure(frames.sent[0].id, error))
    assert len(frame) <= MAX_FRAME
    forwarding.ended(7, messages.decode(frame))  # type: ignore[arg-type]
    assert calls[0].ended == kind
