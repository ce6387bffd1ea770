"""What is dropped on arrival (design §9.19), and that nothing else is."""

from __future__ import annotations

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmoon_django.cluster import wire
from lightmoon_django.cluster.wire import MAX_PACKET, Batch, Cast, Refused, Wire

BATCH = Batch(sender=1, receiver=2, link=3, peer=4, first=5, ack=6, frames=[b"one", b"", b"three"], more=[0])


def test_a_batch_comes_out_as_it_went_in() -> None:
    own = Wire(["secret"])
    assert own.open_batch(own.seal(BATCH)) == BATCH


def test_a_replaced_secret_still_opens_what_it_sealed() -> None:
    assert Wire(["new", "old"]).open_batch(Wire(["old"]).seal(BATCH)) == BATCH


def test_another_secret_opens_nothing() -> None:
    with pytest.raises(Refused, match="forged"):
        Wire(["right"]).open_batch(Wire(["wrong"]).seal(BATCH))


def test_a_cast_is_no_batch() -> None:
    own = Wire(["secret"])
    with pytest.raises(Refused, match="forged"):
        own.open_batch(own.seal(Cast(1, "group", b"data")))


@given(st.data())
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    own = Wire(["secret"])
    packet = bytearray(own.seal(BATCH))
    position = data.draw(st.integers(0, len(packet) - 1))
    packet[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Refused, match="forged"):
        own.open_batch(bytes(packet))


@given(st.one_of(st.binary(max_size=200), st.none(), st.text(), st.lists(st.binary()), st.integers()))
def test_whatever_a_carrier_brings_is_refused_and_not_raised(packet: object) -> None:
    with pytest.raises(Refused):
        Wire(["secret"]).open_batch(packet)


@pytest.mark.parametrize(
    "body",
    [
        [],
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, -6, []],
        [1, 2, 3, 4, 5, 2**63, []],
        [1, 2, 3, 4, 5, 6, ["text"]],
        [1, 2, 3, 4, 5, 6, [], [], "more"],
        {"sender": 1},
        "text",
    ],
)
def test_sealed_nonsense_is_malformed(body: object) -> None:
    """A node of another version has the right secret."""
    packed = msgspec.msgpack.encode(body)
    packet = wire._tag(wire._key("secret", b"batch"), packed) + packed
    with pytest.raises(Refused, match="malformed"):
        wire.Wire(["secret"]).open_batch(packet)


def test_a_packet_over_the_limit_is_not_looked_at() -> None:
    own = Wire(["secret"])
    large = own.seal(Batch(1, 2, 3, 4, 5, 6, [bytes(MAX_PACKET)]))
    with pytest.raises(Refused, match="too large"):
        own.open_batch(large)


def test_a_pickle_is_never_loaded() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pytest.fail, ("A pickle was loaded.",)

    with pytest.raises(Refused):
        Wire(["secret"]).open_batch(pickle.dumps(Bomb()) + b"padding")
