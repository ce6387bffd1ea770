"""The project that the processes of the cluster tests run: one database, given by the environment."""

import os

from tests.server.settings import *  # noqa: F403
from tests.server.settings import LIGHTMOON as SERVER_LIGHTMOON

LIGHTMOON = {**SERVER_LIGHTMOON, "LEASE_SECONDS": float(os.environ.get("LEASE_SECONDS", "5"))}
LIGHTMOON |= {"PRESENCE_INTERVAL": 0.02, "PRESENCE_GRACE": float(os.environ.get("PRESENCE_GRACE", "0.3"))}
if url := os.environ.get("LAYER_REDIS"):
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [url]}}}
