"""The project that the server tests run: one database, given by the environment."""

import os
from pathlib import Path

from tests.services import database_settings
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES as TEST_DATABASES
from tests.settings import INSTALLED_APPS as TEST_APPS

ROOT = Path(__file__).resolve().parents[2]
INSTALLED_APPS = [*TEST_APPS, "tests.server"]
DATABASE_ROUTERS: list[str] = []
STATICFILES_DIRS = [ROOT / "tests" / "browser" / "javascript"]
ROOT_URLCONF = os.environ.get("SERVER_URLS", "tests.server.urls")
if uri := os.environ.get("SERVER_PG"):
    DATABASES = {"default": database_settings(uri)}
else:
    DATABASES = {"default": {**TEST_DATABASES["default"], "NAME": os.environ["SERVER_SQLITE"]}}
LIGHTMOON = {"RATE_LIMIT": 0, "MAX_REQUEST_BYTES": 100_000, "MAX_RESPONSE_BYTES": 200_000}
LIGHTMOON |= {"PRESENCE_INTERVAL": 0.05, "PRESENCE_GRACE": 0.5}
if ttl := os.environ.get("SERVER_PERMISSION_TTL"):
    LIGHTMOON["PERMISSION_TTL"] = float(ttl)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "rest_framework.authentication.BasicAuthentication",
        "tests.gateway.people.NameToken",
    ]
}
if url := os.environ.get("LAYER_REDIS"):
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [url]}}}
if heartbeat := os.environ.get("SERVER_HEARTBEAT"):
    LIGHTMOON["HEARTBEAT"] = float(heartbeat)
DEBUG = "SERVER_DEBUG" in os.environ
