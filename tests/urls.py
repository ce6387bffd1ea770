"""The URLs of the test project."""

from __future__ import annotations

import importlib.util

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = []

if importlib.util.find_spec("lightmoon_django.urls") is not None:
    urlpatterns.append(path("lightmoon/", include("lightmoon_django.urls")))
