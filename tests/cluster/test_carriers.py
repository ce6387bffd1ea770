"""The suite that every carrier must pass, through the networks above it (B9: in the order sent, each once)."""

from __future__ import annotations

import asyncio
import random

import pytest

from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.sendwindow import MAX_FRAME, WINDOW, FrameTooLarge, LinkFull
from tests.cluster.world import World, numbered, shares, until

FRAMES = 5000


async def test_all_frames_arrive_once_and_in_order_both_ways(anywhere: World) -> None:
    left, right = await anywhere.node(), await anywhere.node()
    there, back = numbered(b"there ", FRAMES), numbered(b"back ", FRAMES)

    async def talk(sender: object, to: int, frames: list[bytes]) -> None:
        rng = random.Random(to)
        for part in shares(rng, frames):
            for frame in part:
                sender.send(to, frame)  # type: ignore[attr-defined]
            await asyncio.sleep(0)

    await asyncio.gather(talk(left.network, right.incarnation, there), talk(right.network, left.incarnation, back))
    await right.expect(there)
    await left.expect(back)
    assert {sender for sender, _ in right.received} == {left.incarnation}


async def test_frames_of_all_sizes_arrive_whole(anywhere: World) -> None:
    left, right = await anywhere.node(), await anywhere.node()
    rng = random.Random(7)
    sizes = [0, 1, 128 * 1024 - 1, 128 * 1024, 128 * 1024 + 1, 700_000, 3, 0, 1_500_000, 40]
    frames = [rng.randbytes(size) for size in sizes]
    for frame in frames:
        left.network.send(right.incarnation, frame)
    await right.expect(frames)


async def test_several_nodes_talk_at_once(anywhere: World) -> None:
    nodes = [await anywhere.node() for _ in range(4)]
    for sender in nodes:
        for receiver in nodes:
            if receiver is not sender:
                for number in range(200):
                    sender.network.send(receiver.incarnation, b"%d" % number)
    for receiver in nodes:
        await until(lambda: len(receiver.received) >= 600, lambda: f"{len(receiver.received)} of 600")  # noqa: B023
        for sender in nodes:
            got = [frame for source, frame in receiver.received if source == sender.incarnation]
            assert got == ([] if sender is receiver else numbered(b"", 200))


async def test_a_full_link_says_so_and_recovers(anywhere: World) -> None:
    """Guarantee 11: what is not taken is answered with `Overloaded`, and memory stays bounded."""
    left, right = await anywhere.node(), await anywhere.node()
    frame, sent = b"." * 60_000, 0
    with pytest.raises(LinkFull) as caught:  # noqa: PT012
        while sent < 2 * WINDOW:
            left.network.send(right.incarnation, frame)
            sent += len(frame)
    assert caught.value.retryable
    assert left.network.stats().held <= WINDOW + len(frame) + 64
    await until(lambda: left.network.stats().held == 0, lambda: str(left.network.stats()))
    left.network.send(right.incarnation, b"last")
    await right.expect([frame] * (sent // len(frame)) + [b"last"])


async def test_a_frame_over_the_limit_is_an_error_to_its_sender_alone(anywhere: World) -> None:
    left, right = await anywhere.node(), await anywhere.node()
    with pytest.raises(FrameTooLarge):
        left.network.send(right.incarnation, bytes(MAX_FRAME + 1))
    left.network.send(right.incarnation, b"small")
    await right.expect([b"small"])


async def test_who_has_another_secret_is_not_heard(anywhere: World) -> None:
    """Design §9.19: link frames are sealed."""
    stranger, node = await anywhere.node(secret="another"), await anywhere.node()
    friend = await anywhere.node()
    stranger.network.send(node.incarnation, b"evil")
    await until(lambda: node.network.traffic.dropped["forged"], lambda: str(node.network.stats()))
    friend.network.send(node.incarnation, b"good")
    await node.expect([b"good"])


async def test_frames_to_a_node_that_is_not_there_are_given_back(anywhere: World) -> None:
    left, right = await anywhere.node(), await anywhere.node()
    left.network.send(right.incarnation, b"before")
    await until(lambda: right.received and left.network.stats().held == 0, lambda: str(left.network.stats()))
    await right.network.stop()
    frames = numbered(b"after ", 3)
    for frame in frames:
        left.network.send(right.incarnation, frame)
    assert left.network.forget(right.incarnation) == frames
    assert left.network.forget(right.incarnation) == []
    with pytest.raises(LinkClosed):
        left.network.send(right.incarnation, b"too late")
    assert right.frames == [b"before"]


async def test_a_node_that_stops_acknowledges_what_it_has(faithful: World) -> None:
    """Calls that it has accepted must not look as if they might not have arrived."""
    left, right = await faithful.node(), await faithful.node()
    left.network.send(right.incarnation, b"arrived")
    right.network.send(left.incarnation, b"answer")
    await until(lambda: right.received, lambda: str(left.network.stats()))
    undelivered = await right.network.stop(linger=20.0)
    assert undelivered == {}
    await left.expect([b"answer"])
    await until(lambda: left.network.stats().held == 0, lambda: str(left.network.stats()))
    assert await left.network.stop() == {}


async def test_a_network_started_again_under_its_incarnation_goes_on(anywhere: World) -> None:
    left, right = await anywhere.node(), await anywhere.node()
    for number in range(10):
        left.network.send(right.incarnation, b"%d" % number)
    await right.expect(numbered(b"", 10))
    await right.network.stop(linger=20.0)
    again = await anywhere.node(right.incarnation)
    again.network.send(left.incarnation, b"hello")
    await left.expect([b"hello"])
    left.network.send(right.incarnation, b"there?")
    await again.expect([b"there?"])
