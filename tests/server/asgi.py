"""The application that the server tests run."""

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from lightmoon_django.asgi import lightmoon
from tests.cluster import machines

machines.prepare()
application = lightmoon(ASGIStaticFilesHandler(get_asgi_application()))
