"""LightMoon, and a view that calls an actor."""

from typing import Any

from django.http import HttpResponse
from django.urls import include, path

from lightmoon_django import ref
from tests.server.models import Clicks


def click(request: Any, key: str) -> HttpResponse:
    return HttpResponse(str(ref(Clicks, key).add.sync(1)))


urlpatterns = [path("lightmoon/", include("lightmoon_django.urls")), path("click/<key>", click)]
