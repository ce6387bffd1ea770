import os, tempfile

SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "channels",
    "rest_framework",
    "lightmoon_django",
    "tests.live.apps.LiveConfig",
]
_d = os.environ.setdefault("LMTMP", tempfile.mkdtemp())
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _d + "/db.sqlite3",
        "TEST": {"NAME": _d + "/test.sqlite3"},
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;", "timeout": 5},
    }
}
if os.environ.get("PGURI"):
    import urllib.parse

    u = urllib.parse.urlparse(os.environ["PGURI"])
    q = urllib.parse.parse_qs(u.query)
    DATABASES["pg"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": u.username,
        "HOST": q.get("host", [u.hostname])[0],
    }
DATABASE_ROUTERS = ["tests.runtime.conftest.TestRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
