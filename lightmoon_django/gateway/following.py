"""A client that follows streams: what it is sent of them, and what becomes of its subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django.gateway import frames
from lightmoon_django.gateway.client import Client
from lightmoon_django.gateway.outbox import Outbox
from lightmoon_django.identity import Address
from lightmoon_django.messages import Guarded

if TYPE_CHECKING:
    from lightmoon_django.gateway.calls import WireSubscription
    from lightmoon_django.gateway.hub import Hub


class Follower(Client):
    """Implements `runtime.streams.Subscriber`. Whoever derives from it sets `outbox`."""

    __slots__ = ("_streams", "outbox")

    outbox: Outbox

    def __init__(self, hub: Hub, user: Any, auth: Any = None, proof: str | None = None) -> None:
        super().__init__(hub, user, auth, proof)
        self._streams: dict[Address, WireSubscription] | None = None

    def began_to_follow(self) -> None:
        """It follows a stream, or asked to."""
        raise NotImplementedError

    def ceased_to_follow(self) -> None:
        """It follows none any more."""
        raise NotImplementedError

    def push(self, frame: str) -> None:
        """Send a notification of a stream."""
        self.outbox.send(frame, True)

    def push_guarded(self, address: Address, frame: Guarded) -> None:
        """Send what the user may see of it."""
        call = self._streams.get(address) if self._streams else None
        hidden = call is None or frame.event in call.hidden
        self.outbox.send(frame.skip if hidden else frame.frame, True)

    def push_split(self, frames: Mapping[str, str], skip: str) -> None:
        """Send what is for this session."""
        self.outbox.send(frames.get(self.id, skip), True)

    def push_aside(self, frame: str) -> None:
        """Send what belongs to a stream and has no position there."""
        self.outbox.send(frame, True)

    def reset(self, address: Address, reason: str) -> None:
        """Say that a stream ended. Where it came from, the subscription is forgotten; where it moved to, it may not be.

        One that is asked for anew meanwhile is on its way to whatever follows, and stays wanted.
        """
        call = self._streams.get(address) if self._streams else None
        if call is None:
            return
        if call.pending:
            call.established = False
        else:
            self._forget(address)
        self.hub.switchboard.unsubscribe(address, self, self.user)
        self._say_reset(address, reason)

    # Subscriptions

    @property
    def followed(self) -> int:
        """How many streams it follows, or asked to follow."""
        return len(self._streams) if self._streams else 0

    def follows(self, address: Address) -> bool:
        """Whether it follows that stream, or asked to."""
        return self._streams is not None and address in self._streams

    def streams(self) -> tuple[WireSubscription, ...]:
        """The subscriptions that flow or will."""
        return tuple(self._streams.values()) if self._streams else ()

    def follow(self, call: WireSubscription) -> None:
        """Post a subscription. One that replaces another leaves the stream flowing if it fails."""
        self.admit(call)
        if self._streams is None:
            self._streams = {}
        earlier = self._streams.get(call.address)
        call.established = earlier is not None and earlier.established
        self._streams[call.address] = call
        self.began_to_follow()
        self.hub.post(call)

    def joined(self, call: WireSubscription) -> bool:
        """The node has subscribed this session. False: nobody wants that any more, and it is undone."""
        found = self._streams.get(call.address) if self._streams else None
        if found is not None:
            found.established = True
            self._restate(found)
            return True
        self.hub.switchboard.unsubscribe(call.address, self, self.user)
        return False

    def refused(self, call: WireSubscription) -> None:
        """The node has not subscribed this session."""
        if self._streams and self._streams.get(call.address) is call:
            if call.established:
                self._restate(call)
            else:
                self._forget(call.address)

    def describe(self, address: Address, meta: dict[str, Any]) -> bool:
        """Show others who follow that stream something else of this session. False: it doesn't follow it."""
        call = self._streams.get(address) if self._streams else None
        if call is None:
            return False
        call.meta, call.restated = meta, True
        if not call.pending:
            self._restate(call)
        return True

    def _restate(self, call: WireSubscription) -> None:
        if call.restated and call.meta is not None:
            call.restated = False
            self.hub.switchboard.describe(call.address, self, call.meta)

    def unfollow(self, address: Address) -> None:
        """Stop a stream at once, also one that is still being joined."""
        call = self._forget(address)
        if call is None:
            return
        if call.pending:
            self.hub.cancel(call)
        self.hub.switchboard.unsubscribe(address, self, self.user)

    def withdraw(self, address: Address, reason: str) -> None:
        """Stop a stream that the client may not or can't follow any longer, and say so."""
        call = self._streams.get(address) if self._streams else None
        if call is not None:
            if call.pending:
                call.give_up()
            self.unfollow(address)
            self._say_reset(address, reason)

    def interrupt(self, reason: str) -> None:
        """Some frames will never arrive: end the streams that flow, and say so."""
        for call in self.streams():
            if call.established:
                self.withdraw(call.address, reason)

    def _forget(self, address: Address) -> WireSubscription | None:
        if not self._streams:
            return None
        call = self._streams.pop(address, None)
        if not self._streams:
            self._streams = None
            self.ceased_to_follow()
        return call

    def _say_reset(self, address: Address, reason: str) -> None:
        params = {"actor": address.actor, "key": address.key, "reason": reason}
        self.outbox.send(frames.notification("lm.reset", params))
