"""The node as the gateway sees it: `gateway.hub.Switchboard` is what the gateway asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightmoon_django.actor import registry

if TYPE_CHECKING:
    from lightmoon_django.actor.call import Call
    from lightmoon_django.clock import Clock
    from lightmoon_django.identity import Address
    from lightmoon_django.runtime.node import Node
    from lightmoon_django.runtime.streams import Subscriber


class NodeSwitchboard:
    """The node as the gateway sees it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.settings = node.settings
        self.clock: Clock = node.clock
        self.post: Callable[[Call], None] = node.post
        self.cancel: Callable[[Call], None] = node.cancel

    def unsubscribe(self, address: Address, subscriber: Subscriber, user: Any) -> None:
        schema = registry.by_name(address.actor)
        if schema is not None:
            self._node.unsubscribe(schema, address.key, subscriber, user)

    def describe(self, address: Address, subscriber: Subscriber, meta: Mapping[str, Any]) -> None:
        self._node.describe(address, subscriber, meta)
