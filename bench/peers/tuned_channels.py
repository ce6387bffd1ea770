"""The ASGI application of the Channels peer."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.peers.settings")
django_application = get_asgi_application()

from typing import Any  # noqa: E402

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from bench.peers.consumers import CounterConsumer, FollowConsumer, PublishConsumer  # noqa: E402
from bench.project.memory import with_memory  # noqa: E402

# Channels' routes hold ASGI applications where Django's hold views, which the stubs of neither know.
routes: list[Any] = [
    path("counter", CounterConsumer.as_asgi()),  # type: ignore[arg-type]
    path("follow", FollowConsumer.as_asgi()),  # type: ignore[arg-type]
    path("publish", PublishConsumer.as_asgi()),  # type: ignore[arg-type]
]
# As Channels' tutorial mounts consumers: the origin is checked, and the visitor known by the session's cookie, as in
# LightMoon.
known: Any = AllowedHostsOriginValidator(AuthMiddlewareStack(FollowConsumer.as_asgi()))
application = with_memory(
    ProtocolTypeRouter(
        {
            "http": django_application,
            "websocket": URLRouter([*routes, path("known", known)]),
        }
    )
)
