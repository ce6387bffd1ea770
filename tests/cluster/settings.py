"""The project that the processes of the cluster tests run: one database, given by the environment."""

import os

from tests.server.settings import *  # noqa: F403
from tests.server.settings import LIGHTMOON as SERVER_LIGHTMOON

LIGHTMOON = {**SERVER_LIGHTMOON, "LEASE_SECONDS": float(os.environ.get("LEASE_SECONDS", "5"))}
