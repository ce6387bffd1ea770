"""Nothing but LightMoon."""

from django.urls import include, path

urlpatterns = [path("lightmoon/", include("lightmoon_django.urls"))]
