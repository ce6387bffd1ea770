"""Streams across nodes: those that sessions here follow elsewhere, and those of here that others follow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from lightmoon_django.actor import registry
from lightmoon_django.clock import Clock
from lightmoon_django.cluster.carriers.layer import LayerCarrier
from lightmoon_django.cluster.casts import Casts
from lightmoon_django.cluster.groups import Groups
from lightmoon_django.cluster.link import LinkClosed
from lightmoon_django.cluster.memberships import Memberships
from lightmoon_django.cluster.mirror import Mirror, Subscriber
from lightmoon_django.cluster.mirrors import Mirrors
from lightmoon_django.cluster.network import Network
from lightmoon_django.cluster.outlets import Outlet, Outlets
from lightmoon_django.cluster.postbox import Postbox
from lightmoon_django.cluster.translation import user_key
from lightmoon_django.identity import Address, Position
from lightmoon_django.messages import (
    Aside,
    Described,
    Ended,
    Guarded,
    Lag,
    Positions,
    Streamed,
    Unfollow,
    decode,
    encode,
)

STOP_PATIENCE = 1.0  # seconds; a membership that was not left expires


class Home(Protocol):
    """The streams of this node. Implemented by `runtime.node`."""

    def follower_left(self, address: Address, outlet: str, subscriber: str, user: Any) -> None:
        """A session on another node has left; `outlet` is the subscriber to forget if it was the last one, or empty."""

    def follower_described(self, address: Address, subscriber: str, meta: Mapping[str, Any]) -> None:
        """A session on another node says something else of itself."""

    def missed(self, address: Address, since: Position) -> list[str | Guarded] | None:
        """The frames of an actor's stream after a position; None when they are not held any more."""


class Streaming:
    """Belongs to the node's loop."""

    def __init__(
        self, me: int, home: Home, clock: Clock, network: Network, postbox: Postbox, layer: LayerCarrier | None
    ) -> None:
        """`layer`: the carrier of those that `network` has which can also cast."""
        self._home = home
        self._network = network
        self._postbox = postbox
        self._layer = layer
        self._casts: Casts | None = None
        self._memberships: Memberships | None = None
        self.mirrors = Mirrors(clock, self)
        self.outlets = Outlets(
            postbox.offer,
            postbox.post,
            lambda flush: asyncio.get_running_loop().call_soon(flush),
            self._left,
        )
        if layer is not None:
            groups = Groups(
                me,
                network.wire,
                self._on_cast,
                traffic=network.traffic,
                layer=layer.layer,
                channel=layer.channel,
                group_expiry=layer.group_expiry,
            )
            layer.on_cast = groups.receive
            self._memberships = Memberships(groups, self._member)
            self._casts = self.outlets.caster = Casts(groups, clock, postbox.offer, self.outlets.deliver)

    async def stop(self) -> None:
        """Leave the groups, as far as the layer lets it soon. After `leave_off`."""
        if self._casts is not None:
            await self._casts.stop()
        if self._memberships is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._memberships.stop(), STOP_PATIENCE)

    def leave_off(self) -> None:
        """Nothing comes any more; those who follow here are told. Nobody follows from elsewhere."""
        self.mirrors.stop()
        self.outlets.stop()

    def died(self, peer: int) -> None:
        """A node is dead."""
        self.mirrors.died(peer)
        self.outlets.died(peer)

    # What this node follows

    def grouped(self, owner: int, actor: str) -> bool:
        """Whether such an actor's stream had better come from that node as casts.

        Not where sessions see different things: what a cast loses comes from the history, which holds none of that.
        """
        schema = registry.by_name(actor)
        if schema is not None and not schema.castable:
            return False
        try:
            return self._layer is not None and self._network.carrier_to(owner) == self._layer.name
        except LinkClosed:
            return False

    def joined(self, address: Address, source: int, position: Position, subscriber: Subscriber) -> None:
        """The owner has taken a subscription."""
        self.mirrors.join(address, source, position, subscriber, self.grouped(source, address.actor))

    def leave(self, address: Address, subscriber: str, user: Any) -> None:
        """Forget a subscriber here of a stream there."""
        source = self.mirrors.leave(address, subscriber)
        if source is not None:
            self.send(source, Unfollow(*address, subscriber, user_key(user)))

    def describe(self, address: Address, subscriber: str, meta: Mapping[str, Any]) -> None:
        """Tell the owner what a subscriber here says of itself."""
        mirror = self.mirrors.get(address)
        if mirror is not None:
            self.send(mirror.source, Described(*address, subscriber, dict(meta)))

    def ask(self, mirror: Mirror) -> None:
        """Ask the owner for what is missing; and if nothing came at all, make sure that casts reach this node."""
        self.send(mirror.source, Lag(*mirror.address, mirror.epoch, mirror.wanted))
        if self._memberships is not None and not mirror.hears and self.grouped(mirror.source, mirror.address.actor):
            mirror.grouped = True
            self._memberships.want(mirror.address)

    def began(self, mirror: Mirror) -> None:
        if mirror.grouped and self._memberships is not None:
            self._memberships.want(mirror.address)

    def ended(self, mirror: Mirror, *, known: bool) -> None:
        if self._memberships is not None:
            self._memberships.unwant(mirror.address)
        if not known:
            self.send(mirror.source, Unfollow(*mirror.address, "", None))

    def _member(self, address: Address) -> None:
        """Casts reach this node. Those of before may have missed it."""
        mirror = self.mirrors.get(address)
        if mirror is not None:
            self.send(mirror.source, Lag(*address, mirror.epoch, mirror.wanted))

    def _on_cast(self, sender: int, group: str, data: bytes) -> None:
        try:
            frame = decode(data)
        except msgspec.MsgspecError:
            return
        if isinstance(frame, Streamed):
            address = Address(frame.actor, frame.key)
            self.mirrors.receive(sender, address, frame.epoch, frame.first, frame.frames)

    # What the owner of a stream says

    def streamed(self, sender: int, frame: Streamed) -> None:
        address = Address(frame.actor, frame.key)
        if not self.mirrors.receive(sender, address, frame.epoch, frame.first, frame.frames):
            self.send(sender, Unfollow(frame.actor, frame.key, "", None))

    def aside(self, sender: int, frame: Aside) -> None:
        address = Address(frame.actor, frame.key)
        if not self.mirrors.aside(sender, address, Position(frame.epoch, frame.seq), frame.frame):
            self.send(sender, Unfollow(frame.actor, frame.key, "", None))

    def stream_ended(self, sender: int, frame: Ended) -> None:
        self.mirrors.ended(sender, Address(frame.actor, frame.key), frame.reason)

    def told(self, sender: int, frame: Positions) -> None:
        for actor, key, epoch, seq in frame.streams:
            self.mirrors.heard(sender, Address(actor, key), Position(epoch, seq))

    def after(self, sender: int, address: Address, position: Position, then: Callable[[], object]) -> None:
        """Call `then` once sessions here have what the owner's answer stands behind."""
        self.mirrors.after(sender, address, position, then)

    # What the followers of a stream say

    def unfollowed(self, peer: int, frame: Unfollow, user: Any) -> None:
        address = Address(frame.actor, frame.key)
        if frame.subscriber:
            self.outlets.leave(peer, address, frame.subscriber, user)
        elif (outlet := self.outlets.find(peer, address)) is not None:
            self.outlets.drop(outlet, peer, "nobody")  # told, should somebody have joined there meanwhile

    def described(self, frame: Described) -> None:
        self._home.follower_described(Address(frame.actor, frame.key), frame.subscriber, frame.meta)

    def lagging(self, peer: int, frame: Lag) -> None:
        """Give a node what it misses, or take it out of the stream."""
        address = Address(frame.actor, frame.key)
        outlet = self.outlets.find(peer, address)
        if outlet is None:
            self.send(peer, Ended(*address, "nobody"))
            return
        missed = self._home.missed(address, Position(frame.epoch, frame.seq))
        if missed is None:
            self.outlets.drop(outlet, peer, "gap")
        elif missed and not self._postbox.offer(
            peer, encode(Streamed(*address, frame.epoch, frame.seq + 1, tuple(missed)))
        ):
            self.outlets.drop(outlet, peer, "overflow")

    def _left(self, outlet: Outlet, id: str, session: str, user: Any) -> None:
        self._home.follower_left(outlet.address, id, session, user)

    def send(self, peer: int, frame: Unfollow | Described | Lag | Ended) -> None:
        """Send a frame behind what waits for that node."""
        self.outlets.flush()
        self._postbox.post(peer, encode(frame))
