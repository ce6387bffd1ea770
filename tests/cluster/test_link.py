"""Links in simulated time, over a way that drops, repeats and reorders. Each seed is another run."""

from __future__ import annotations

import itertools
import random

import pytest

from lightmoon_django.cluster.link import ACK_WITHIN, LinkClosed
from lightmoon_django.cluster.receivewindow import MOST_EARLY, ReceiveWindow
from lightmoon_django.cluster.roundtrips import LONGEST, SHORTEST, RoundTrips
from lightmoon_django.cluster.sendwindow import MAX_FRAME, PIECE, WINDOW, LinkFull, SendWindow
from tests.cluster.world import End, Pair, numbered, shares

SEEDS = range(250)


def feed(pair: Pair, end: End, frames: list[bytes], *, full: list[int] | None = None) -> None:
    """Send them in random portions at random times; again later what a full link did not take."""
    parts = shares(pair.rng, frames)

    def some(left: list[bytes]) -> None:
        while left:
            try:
                end.link.send(left[0])
            except LinkFull:
                if full is not None:
                    full.append(len(left))
                pair.call_later(0.05, some, left)
                return
            except LinkClosed:
                return
            left.pop(0)
        if part := next(parts, None):
            pair.call_later(pair.rng.random() * 0.05, some, part)

    some([])


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_arrives_once_and_in_order_over_any_losses(seed: int) -> None:
    pair = Pair(seed)
    pair.left.path.prompt = seed % 2 == 0
    pair.right.path.prompt = seed % 3 == 0
    sizes = random.Random(seed)
    there = [b"%d " % number + bytes(sizes.choice((0, 10, 1000, 200_000))) for number in range(60)]
    back = numbered(b"back ", 200)
    feed(pair, pair.left, there)
    feed(pair, pair.right, back)
    pair.run(
        lambda: len(pair.right.received) >= len(there) and len(pair.left.received) >= len(back),
        lambda: f"seed {seed}: {len(pair.right.received)} and {len(pair.left.received)} arrived",
    )
    assert pair.right.received == there
    assert pair.left.received == back
    pair.run(lambda: pair.left.link.settled and pair.right.link.settled, lambda: f"seed {seed}: not settled")
    assert pair.left.received == back
    assert pair.right.received == there


@pytest.mark.parametrize("seed", range(40))
def test_a_breakdown_of_any_length_is_survived(seed: int) -> None:
    pair = Pair(seed)
    frames = numbered(b"", 100)
    feed(pair, pair.left, frames)
    for _ in range(3):
        pair.clock.advance(pair.rng.random() * 2)
        pair.left.path.broken = pair.right.path.broken = True
        pair.clock.advance(pair.rng.random() * 100)
        pair.left.path.broken = pair.right.path.broken = False
    pair.run(lambda: len(pair.right.received) >= 100, lambda: f"seed {seed}: {len(pair.right.received)}", 30)
    assert pair.right.received == frames


def test_a_time_out_grows_to_two_seconds_and_no_further() -> None:
    pair = Pair(1)
    pair.left.path.broken = True
    pair.left.link.send(b"into the void")
    times = []
    before = 0
    for _ in range(2000):
        pair.clock.advance(0.01)
        if pair.left.traffic.batches_sent > before:
            before = pair.left.traffic.batches_sent
            times.append(pair.clock.monotonic())
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert 0.07 <= gaps[0] <= 0.15
    assert all(1.6 <= gap <= 2.45 for gap in gaps[5:])
    assert len(gaps) > 8, "It gave up."


def test_an_idle_link_has_no_timers() -> None:
    """Design §7: what is idle costs one small object."""
    pair = Pair(3)
    pair.left.path.rng = pair.right.path.rng = Lucky(3)
    pair.left.link.send(b"hello")
    pair.run(lambda: pair.left.link.settled and pair.right.link.settled, lambda: "not settled")
    pair.clock.advance(10.0)
    assert not [alarm for _, _, alarm in pair.clock._alarms if not alarm.cancelled]


class Lucky(random.Random):
    """Nothing gets lost."""

    def choices(self, *arguments: object, **options: object) -> list[int]:  # type: ignore[override]
        return [1]


def lucky(seed: int = 1) -> Pair:
    pair = Pair(seed)
    pair.left.path.rng = pair.right.path.rng = Lucky(seed)
    pair.left.link.send(b"hello")
    pair.run(lambda: pair.left.link.settled and pair.right.link.settled, lambda: "not settled")
    pair.right.received.clear()
    return pair


def test_frames_of_one_pass_travel_as_one_batch() -> None:
    pair = lucky()
    before = pair.left.traffic.batches_sent
    for frame in numbered(b"", 50):
        pair.left.link.send(frame)
    pair.run(lambda: len(pair.right.received) == 50, lambda: str(len(pair.right.received)))
    assert pair.left.traffic.batches_sent == before + 1


def test_a_lone_frame_does_not_wait_for_others_where_packets_are_cheap() -> None:
    pair = lucky()
    pair.left.path.prompt = True
    before = pair.left.traffic.batches_sent
    for frame in numbered(b"", 50):
        pair.left.link.send(frame)
    assert pair.left.traffic.batches_sent == before + 1
    assert pair.left.link.unsent() == numbered(b"", 50)[1:]
    pair.run(lambda: pair.right.received == numbered(b"", 50), lambda: str(len(pair.right.received)))
    assert pair.left.traffic.batches_sent == before + 2
    pair.run(lambda: pair.left.link.settled, lambda: "not settled")
    assert (pair.left.link.held, pair.left.link._out.in_flight, pair.left.traffic.resent) == (0, 0, 0)


def test_an_acknowledgement_travels_with_an_answer() -> None:
    pair = lucky()
    before = pair.right.traffic.batches_sent
    pair.left.link.send(b"ask")
    pair.run(lambda: pair.right.received == [b"ask"], lambda: "no ask")
    pair.right.link.send(b"answer")
    pair.run(lambda: pair.left.received == [b"answer"] and pair.left.link.held == 0, lambda: "no answer")
    pair.clock.advance(2 * ACK_WITHIN)
    assert pair.right.traffic.batches_sent == before + 1


def test_an_acknowledgement_without_an_answer_is_not_late() -> None:
    pair = lucky()
    pair.left.link.send(b"tell")
    pair.clock.advance(ACK_WITHIN + 0.11)
    assert pair.left.link.held == 0
    assert pair.left.traffic.resent == 0


def test_a_sender_in_the_midst_of_losses_sees_a_full_link_and_then_room() -> None:
    pair, full = Pair(5), list[int]()
    frames = [b"%d " % number + bytes(150_000) for number in range(80)]
    feed(pair, pair.left, frames, full=full)
    pair.run(lambda: len(pair.right.received) >= 80, lambda: f"{len(pair.right.received)} of 80")
    assert pair.right.received == frames
    assert full, "12 MB never filled a window of 4 MiB."


def test_the_largest_frame_passes_though_it_exceeds_the_window() -> None:
    pair = lucky()
    frame = random.Random(1).randbytes(MAX_FRAME)
    pair.left.link.send(frame)
    with pytest.raises(LinkFull):
        pair.left.link.send(b"more")
    pair.run(lambda: bool(pair.right.received), lambda: "nothing arrived")
    assert pair.right.received == [frame]


def test_what_a_closed_link_gives_back_did_not_arrive() -> None:
    """Only the acknowledgement can be missing, so it is a suffix of what was sent, and overlaps what arrived."""
    for seed in range(50):
        pair = Pair(seed)
        frames = [*numbered(b"", 30), bytes(300_000)]
        feed(pair, pair.left, frames)
        pair.clock.advance(pair.rng.random())
        sent = pair.left.traffic.frames_sent
        back = pair.left.link.close()
        assert back == frames[sent - len(back) : sent]
        pair.clock.advance(5.0)
        arrived = pair.right.received
        assert arrived == frames[: len(arrived)]
        assert len(arrived) + len(back) >= sent, f"seed {seed}: a frame vanished"


@pytest.mark.parametrize("seed", range(60))
def test_an_end_that_is_started_again_gets_nothing_twice(seed: int) -> None:
    """What may have reached the old one is given back; all else arrives at the new one, in order."""
    pair = Pair(seed)
    frames = numbered(b"", 60)
    feed(pair, pair.left, frames)
    feed(pair, pair.right, numbered(b"old ", 60))
    pair.clock.advance(pair.rng.random())
    old = pair.restart(2)
    old.link.close()
    new = pair.right
    again = numbered(b"again ", 20)
    feed(pair, new, again)
    pair.run(
        lambda: len(set(old.received) | set(pair.left.lost) | set(new.received)) == 60 and pair.left.link.settled,
        lambda: f"seed {seed}: {len(old.received)} old, {len(pair.left.lost)} lost, {len(new.received)} new",
    )
    assert old.received + new.received == sorted(set(old.received + new.received), key=int)
    assert not set(new.received) & set(pair.left.lost)
    pair.run(lambda: again[-1] in pair.left.received, lambda: f"seed {seed}: what the new one sends does not arrive")
    assert [frame for frame in pair.left.received if not frame.startswith(b"old ")] == again


def test_an_early_piece_is_kept_and_a_flood_of_them_is_not() -> None:
    window = ReceiveWindow()
    assert window.accept(1, [b"b", b"c"], []) == []
    assert window._early_bytes
    assert window.accept(0, [b"a"], []) == [b"a", b"b", b"c"]
    for number in range(4, 104):
        window.accept(number, [bytes(PIECE)], [])
    assert window._early_bytes <= MOST_EARLY


def test_an_old_piece_is_neither_delivered_nor_kept() -> None:
    window = ReceiveWindow()
    assert window.accept(0, [b"a", b"b"], []) == [b"a", b"b"]
    assert window.accept(0, [b"a", b"b", b"c"], []) == [b"c"]
    assert window.duplicates == 2
    assert not window._early_bytes


def test_what_never_left_is_not_given_back_when_the_other_end_starts_again() -> None:
    window = SendWindow()
    large = bytes(PIECE + 1)
    for frame in (b"left", large, b"stayed"):
        window.push(frame)
    window.take(PIECE + 140)
    assert window.drain(sent_only=True) == [b"left", large]
    assert window.base == 0
    assert [piece.frame for piece in window.take(1000)] == [b"stayed"]


def test_an_acknowledgement_of_what_was_never_sent_is_ignored() -> None:
    window = SendWindow()
    for frame in numbered(b"", 5):
        window.push(frame)
    window.take(2 * 65)
    assert not window.ack(3)
    assert window.ack(2)
    assert window.held > 0


def test_no_more_than_the_window_is_on_its_way() -> None:
    window = SendWindow()
    window.push(bytes(MAX_FRAME))
    while window.take(256 * 1024):
        pass
    assert WINDOW <= window.in_flight <= WINDOW + 256 * 1024


def test_the_time_out_follows_slow_round_trips_and_not_repeated_ones() -> None:
    trips = RoundTrips(random.Random(1))
    assert SHORTEST * 0.8 <= trips.timeout(0.0) <= SHORTEST * 1.2
    for number in range(20):
        trips.sent(number + 1, number)
        trips.acked(number + 1, number + 0.5)
    assert trips.timeout(0.0) > 0.4
    trips.sent(30, 100.0)
    trips.lost()
    trips.sent(30, 100.5)
    trips.acked(30, 1000.0)
    assert trips.timeout(0.0) < 1.0
    for _ in range(10):
        trips.lost()
    assert trips.timeout(0.0) <= LONGEST * 1.2
