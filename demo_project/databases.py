"""A PostgreSQL's URL as an entry of Django's `DATABASES`."""

from __future__ import annotations

import urllib.parse
from typing import Any

SCHEMES = ("postgresql", "postgres")
POOL = {"min_size": 1, "max_size": 10}  # connections of one process: 8 worker threads', and 2 for views


def postgresql(url: str) -> dict[str, Any]:
    """Empty for anything else. `?host=` names the directory of a Unix socket, as for libpq."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in SCHEMES:
        return {}
    query = dict(urllib.parse.parse_qsl(parts.query))
    host = query.pop("host", parts.hostname or "")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": urllib.parse.unquote(parts.path.lstrip("/")),
        "USER": urllib.parse.unquote(parts.username or ""),
        "PASSWORD": urllib.parse.unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "OPTIONS": {"pool": POOL, **query},
    }
