"""The project that the processes of the cluster tests run: one database, given by the environment."""

import os

from tests.server.settings import *  # noqa: F403
from tests.server.settings import INSTALLED_APPS as SERVER_APPS
from tests.server.settings import LIGHTMOON as SERVER_LIGHTMOON

INSTALLED_APPS = [*SERVER_APPS, "tests.cluster"]
LIGHTMOON = {**SERVER_LIGHTMOON, "LEASE_SECONDS": float(os.environ.get("LEASE_SECONDS", "5"))}
LIGHTMOON |= {"PRESENCE_INTERVAL": 0.02, "PRESENCE_GRACE": 0.3}
if timeout := os.environ.get("CALL_TIMEOUT"):
    LIGHTMOON["CALL_TIMEOUT"] = float(timeout)
LIGHTMOON["ROLES"] = os.environ.get("ROLES", "").split()
