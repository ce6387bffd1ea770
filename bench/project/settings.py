"""Settings from the environment: `BENCH_DATABASE` is a PostgreSQL URI or a path."""

from __future__ import annotations

import os
import urllib.parse
from typing import Any

SECRET_KEY = "only for the benchmark"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "bench.project.urls"
ASGI_APPLICATION = "bench.project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "rest_framework",
    "lightmoon_django",
    "bench.project",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if redis := os.environ.get("BENCH_REDIS"):
    _host = {"address": redis, "socket_timeout": None, "max_connections": 1000}  # as docs/deploy.md says
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [_host]}}}

# One client of the load generator is a thousand people, and an activation must not leave while it is counted.
LIGHTMOON = {"RATE_LIMIT": 0, "IDLE_AFTER": 3600, "MAX_SUBSCRIPTIONS": 100_000}


def _database(where: str) -> dict[str, Any]:
    if not where.startswith("postgresql://"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": where,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    parts = urllib.parse.urlsplit(where)
    options = dict(urllib.parse.parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "HOST": options.pop("host", parts.hostname),
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 0,
    }


DATABASES = {"default": _database(os.environ.get("BENCH_DATABASE", ":memory:"))}
