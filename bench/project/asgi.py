"""LightMoon, as a project would mount it."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.project.settings")
django_application = get_asgi_application()

from bench.project import traffic  # noqa: E402
from bench.project.memory import with_memory  # noqa: E402
from lightmoon_django.asgi import lightmoon  # noqa: E402

application = with_memory(lightmoon(django_application), {traffic.PATH: traffic.counted})
