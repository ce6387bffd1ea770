"""The project that the tests run in.

The database "pg" is a PostgreSQL that the tests start themselves when the first of them needs a database (see
`tests/conftest.py`), or the one that LIGHTMOON_TEST_PG names as a URI.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.services import database_settings

SECRET_KEY = "only for the tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "channels",
    "rest_framework",
    "lightmoon_django",
    "tests.app",
    "tests.live",
    "tests.kinds",
    "tests.model",
]
MIGRATION_MODULES = {"testapp": None, "live": None, "kinds": None, "model": None}
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

_SCRATCH = Path(tempfile.gettempdir()) / f"lightmoon-tests-{os.getpid()}.sqlite3"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(_SCRATCH),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL",
        },
        "TEST": {"NAME": str(_SCRATCH)},
    },
}
if importlib.util.find_spec("psycopg") is not None:
    DATABASES["pg"] = database_settings(os.environ.get("LIGHTMOON_TEST_PG", "postgresql:///postgres"))

if importlib.util.find_spec("tests.runtime") is not None:
    DATABASE_ROUTERS = ["tests.runtime.conftest.TestRouter"]
