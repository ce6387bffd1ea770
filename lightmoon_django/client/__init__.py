"""LightMoon from another Python process: for bots, tests and load generators. Needs no Django project.

General layout: a `client` has one `connection` at a time, a `call` for each request under way and a `stream` for each
actor that is followed; `actor` is the proxy, and `events` what a program reads from a stream. `refusals` makes the
server's errors into exceptions, `backoff` spreads attempts. It mirrors the client in JavaScript.
"""

from lightmoon_django.client.actor import Actor
from lightmoon_django.client.client import Client, State, connect
from lightmoon_django.client.events import Event, StreamReset

__all__ = ["Actor", "Client", "Event", "State", "StreamReset", "connect"]
