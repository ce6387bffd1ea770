"""The peers' own settings: nothing of LightMoon is loaded, and database connections are kept."""

from __future__ import annotations

from bench.project.settings import *  # noqa: F403
from bench.project.settings import DATABASES

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "bench.peers",
]
DATABASES["default"]["CONN_MAX_AGE"] = None
ROOT_URLCONF = "bench.peers.urls"
