"""Answers to a node that reads more slowly than it calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from lightmoon_django.actor import registry
from lightmoon_django.cluster.incoming import Incoming
from lightmoon_django.cluster.postbox import AGAIN, MOST_WAITING, Postbox
from lightmoon_django.cluster.sendwindow import LinkFull
from lightmoon_django.messages import Answer, Failure, Remote, decode
from lightmoon_django.testing.clock import ManualClock
from tests.live.models import Scratch

SIZE = 1024 * 1024  # bytes of an answer
PEER = 7


def test_who_reads_more_slowly_than_it_calls_is_overloaded() -> None:
    """B53, B80: its answers wait, in order, but no more of them than there is room for; and then it is served again."""
    clock, full = ManualClock(), True
    arrived: list[Any] = []
    ran = 0

    def send(peer: int, frame: bytes) -> None:
        if full:
            raise LinkFull("Full.")
        arrived.append(decode(frame))

    def run(call: Any) -> None:
        nonlocal ran
        ran += 1
        call.resolve(bytes(SIZE))

    postbox = Postbox(send, clock)
    nothing: Any = SimpleNamespace(groups=())
    incoming = Incoming(
        *(1, clock, postbox.post, run, lambda call: None),
        turn_of=lambda number: None,
        outlets=nothing,
        crowded=postbox.crowded,
    )

    def call(id: int) -> None:
        payload = registry.schema_of(Scratch).messages["add"].signature.bind((1,), {})
        remote = Remote(id, "live.Scratch", "a", "add", payload, "local", 9.0, None, None, (), None, 1, 0)
        incoming.run(PEER, remote, None)

    for number in range(100):
        call(number)
    most = MOST_WAITING // SIZE + 1
    assert ran <= most
    full = False
    clock.advance(2 * AGAIN)
    assert [frame.id for frame in arrived] == list(range(100))
    assert {type(frame) for frame in arrived[:ran]} == {Answer}
    assert {frame.code for frame in arrived[ran:] if isinstance(frame, Failure)} == {"overloaded"}
    call(100)
    assert type(arrived[-1]) is Answer
    assert (len(incoming), postbox.empty) == (0, True)
