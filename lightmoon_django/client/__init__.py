"""LightMoon from another Python process: for bots, tests and load generators. Needs no Django project.

General layout: `entry` makes a `client`, which has one `connection` at a time, a `call` for each request under way
(`calls` has them all) and a `stream` for each actor that is followed. `actor` is
the proxy and `message` one of its methods, `ref` the same typed by the actor's class; `events` is what a program reads
from a stream, and `reading` makes values what the hints of a class say. `refusals` makes the server's errors into
exceptions, `backoff` spreads attempts, `state` names where a client is. It mirrors the client in JavaScript.
"""

from lightmoon_django.client.actor import Actor
from lightmoon_django.client.client import Client
from lightmoon_django.client.entry import connect
from lightmoon_django.client.events import Event, StreamReset
from lightmoon_django.client.state import State

__all__ = ["Actor", "Client", "Event", "State", "StreamReset", "connect"]
