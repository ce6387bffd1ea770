"""LightMoon from another Python process: for bots, tests and load generators. Needs no Django project.

General layout: a `client` has one `connection` at a time, a `call` for each request under way (`calls` has them all)
and a `stream` for each actor that is followed; `actor` is the proxy, and `events` what a program reads from a stream.
`refusals` makes the server's errors into exceptions, `backoff` spreads attempts, `state` names where a client is. It
mirrors the client in JavaScript.
"""

from lightmoon_django.client.actor import Actor
from lightmoon_django.client.client import Client, connect
from lightmoon_django.client.events import Event, StreamReset
from lightmoon_django.client.state import State

__all__ = ["Actor", "Client", "Event", "State", "StreamReset", "connect"]
