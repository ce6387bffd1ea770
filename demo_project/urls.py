from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.urls import staticfiles_urlpatterns
from django.urls import include, path

urlpatterns = [
    path("", include("demo_project.chat.urls")),
    path("admin/", admin.site.urls),
    path("lightmoon/", include("lightmoon_django.urls")),
    *staticfiles_urlpatterns(),  # under any server, while DEBUG is on
]
