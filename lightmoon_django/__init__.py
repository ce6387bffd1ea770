"""LightMoon: live Django models.

General layout, from the ground up (imports fall downward only):

- `errors`, `identity`, `clock`, `conf`, `codec`, `fields`: the vocabulary.
- `actor/`: what a developer writes. Decorators, the schema built from them, refs, the current turn.
- `persistence/`: what survives. The store's port, and the only rooms with queries.
- `cluster/`: where an actor lives. Membership and leases, links, placement.
- `runtime/`: where a message runs. Node, catalog, activation, turn, gate.
- `gateway/`: how the world comes in. Sessions, JSON-RPC, WebSocket, HTTP, TCP, subscriptions, permissions.
- `proxies/`: what clients are made of. The manifest and what is generated from it.
- `client/`: the same actors from another Python process, without a Django project. See docs/python-client.md.
- `host`: wires the wings together, once per process.
- `testing/`: what users test their actors with. See docs/testing.md.

A message's journey is told in docs/design.md.
"""

from lightmoon_django.actor.decorators import actor, event, message
from lightmoon_django.actor.placement import Role
from lightmoon_django.actor.ref import ref
from lightmoon_django.actor.timer import every
from lightmoon_django.actor.turn import turn

__all__ = ["Role", "actor", "event", "every", "message", "ref", "turn"]
__version__ = "0.1.0"
