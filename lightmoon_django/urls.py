"""What Django itself serves: `path("lightmoon/", include("lightmoon_django.urls"))`.

The proxies, the OpenRPC document, under DEBUG the panel, and under WSGI `rpc`: `lightmoon_django.asgi` serves that
ahead of Django's handler.
"""

from __future__ import annotations

from django.urls import path

from lightmoon_django.gateway.views import rpc
from lightmoon_django.proxies import devtools, views

app_name = "lightmoon"
urlpatterns = [path("rpc", rpc, name="rpc"), *views.urlpatterns, *devtools.urlpatterns]
