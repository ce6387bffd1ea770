"""Sessions of other nodes that follow an actor here, by the frames that those nodes send."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from lightmoon_django import ref
from lightmoon_django.actor import registry
from lightmoon_django.cluster.cluster import Cluster
from lightmoon_django.identity import Address
from lightmoon_django.messages import Follow, Remote, encode
from tests.live.models import Lounge
from tests.runtime.conftest import Late, World, eventually, held_up

PEER = 77  # another node's network id
STALE = 2.0  # seconds after which memory isn't trusted without a look at the row


_ids = itertools.count(1)


def follow(actor: Any, session: str) -> bytes:
    """A session there subscribes."""
    call = Remote(
        id=next(_ids),
        actor=registry.name_of(type(actor).actor),
        key=actor.key,
        message="subscription",
        payload=b"\x90",
        form="local",
        seconds=30.0,
        caller=session,
        user=None,
        chain=(),
        identity=None,
        generation=1,
        hops=0,
    )
    return encode(Follow(call, None, False))


async def test_nobody_is_there_whose_node_died_before_the_subscription_was_durable(
    stored: World, clock: Late, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B42: the actor's database is slow to answer, and the node's death is known first."""
    assert stored.node is not None
    actor, address = ref(Lounge, "quiet"), Address(registry.name_of(Lounge), "quiet")
    assert await actor.visitors() == {}
    node, cluster = stored.node, stored.node.elsewhere
    activation: Any = node.find(address)
    assert isinstance(cluster, Cluster)
    clock.advance(STALE)
    answered = held_up(monkeypatch, activation, "commit")
    cluster._on_frame(PEER, follow(actor, "session-1"))
    await eventually(lambda: len(activation.gate), "it waits for the database")
    cluster._died(PEER, True)
    answered.set()
    await eventually(lambda: not len(activation.gate), "it is durable")
    clock.advance(node.settings.PRESENCE_GRACE)
    assert not activation.subscribed
    assert node.presences.seen(address) == {}
    assert node.presences._all == {}
