"""Which events of a stream a client may see: those with permission classes of their own are judged for each client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightmoon_django.gateway.frames import internal
from lightmoon_django.gateway.policy import GRANTED, Policy

if TYPE_CHECKING:
    from lightmoon_django.actor.schema import ActorSchema
    from lightmoon_django.gateway.client import Client
    from lightmoon_django.gateway.hub import Hub

NOTHING: frozenset[str] = frozenset()


class Guards:
    """The policies of one actor class's guarded events."""

    __slots__ = ("_hub", "_policies")

    def __init__(self, schema: ActorSchema, hub: Hub) -> None:
        default = hub.settings.DEFAULT_PERMISSION_CLASSES
        self._hub = hub
        self._policies = {name: Policy(schema.events[name], default, reads=True) for name in sorted(schema.guarded)}

    def known(self, client: Client, key: str, now: float) -> frozenset[str] | None:
        """The events that it may not see, as far as that needs no thread; None when `judge` must be asked."""
        if not self._policies:
            return NOTHING
        refusals = {name: policy.known(client, key, now) for name, policy in self._policies.items()}
        if None in refusals.values():
            return None
        return frozenset(name for name, refusal in refusals.items() if refusal != GRANTED)

    async def judge(self, client: Client, key: str) -> frozenset[str]:
        """Likewise, asking the permission classes. One that can't say is not a grant."""
        hidden = set()
        for name, policy in self._policies.items():
            refusal = policy.known(client, key, self._hub.monotonic())
            if refusal is None:
                try:
                    refusal = await policy.judge(client, key)
                except Exception as error:
                    refusal = internal(error).message
            if refusal != GRANTED:
                hidden.add(name)
        return frozenset(hidden)
