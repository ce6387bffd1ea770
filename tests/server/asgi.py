"""The application that the server tests run."""

from django.core.asgi import get_asgi_application

from lightmoon_django.asgi import lightmoon

application = lightmoon(get_asgi_application())
