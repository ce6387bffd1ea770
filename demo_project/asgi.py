"""The demo under an ASGI server: `uvicorn demo_project.asgi:application`, or `manage.py runserver`."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
django_application = get_asgi_application()  # loads the apps, which the next import needs

from lightmoon_django.asgi import lightmoon  # noqa: E402

application = lightmoon(django_application)
