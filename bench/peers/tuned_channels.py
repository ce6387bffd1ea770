"""The ASGI application of the Channels peer."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.settings")
django_application = get_asgi_application()

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from bench.peers.consumers import CounterConsumer, FollowConsumer, PublishConsumer  # noqa: E402
from bench.project.memory import with_memory  # noqa: E402

application = with_memory(
    ProtocolTypeRouter(
        {
            "http": django_application,
            "websocket": URLRouter(
                [
                    path("counter", CounterConsumer.as_asgi()),
                    path("follow", FollowConsumer.as_asgi()),
                    path("publish", PublishConsumer.as_asgi()),
                ]
            ),
        }
    )
)
